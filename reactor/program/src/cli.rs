//! Values and errors of the command line: durations, sizes, addresses, and one line for whatever is wrong.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::error::ErrorKind;
use clap::{Command, CommandFactory, Parser};
use clap_complete::Shell;
use clap_mangen::Man;
use reactor::{Address, AddressError};

/// The exit code of a program that failed at what it was asked to do.
pub const FAILURE: u8 = 1;

/// The exit code of a program that did not understand what it was asked to do.
pub const USAGE: u8 = 2;

/// Reads the arguments of this process. `Err`: the program is to end now with this code, and all is said.
///
/// `--help` and `--version` go to stdout; whatever is wrong is one line on stderr that names the culprit. Neither minds
/// that nobody reads.
///
/// # Errors
/// The exit code: 0 after `--help` and `--version`, 2 after a bad argument.
pub fn parse<T: Parser>() -> Result<T, ExitCode> {
    parse_from(std::env::args_os())
}

fn parse_from<T: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<T, ExitCode> {
    T::try_parse_from(arguments).map_err(|error| {
        let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
        if asked_for {
            // A reader that has gone away has seen what it wanted.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let line = one_line(&error.render().to_string());
        let _ = writeln!(io::stderr(), "{}: {line}", T::command().get_name());
        ExitCode::from(USAGE)
    })
}

/// Writes the completion script of a program to stdout.
///
/// # Errors
/// Stdout does not take it; that its reader went away is none.
pub fn write_completions<T: CommandFactory>(shell: Shell) -> io::Result<()> {
    let mut command = T::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(&script)
}

/// Writes the man page of a program to stdout, with a section for each of its subcommands.
///
/// # Errors
/// Stdout does not take it; that its reader went away is none.
pub fn write_man_page<T: CommandFactory>() -> io::Result<()> {
    let mut page = Vec::new();
    let mut command = T::command();
    command.build();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        write_subcommand(&mut page, subcommand)?;
    }
    man.render_options_section(&mut page)?;
    man.render_extra_section(&mut page)?;
    print(&page)
}

/// What a subcommand has of its own: what all have stands in the section of the options.
fn write_subcommand(page: &mut Vec<u8>, subcommand: &Command) -> io::Result<()> {
    let name = subcommand.get_name();
    writeln!(page, ".SH {}", name.to_uppercase())?;
    let mut own = subcommand.clone();
    let global: Vec<_> =
        own.get_arguments().filter(|argument| argument.is_global_set()).map(|it| it.get_id().clone()).collect();
    for id in global {
        own = own.mut_arg(id, |argument| argument.hide(true));
    }
    let mut sections = Vec::new();
    let man = Man::new(own);
    man.render_synopsis_section(&mut sections)?;
    man.render_description_section(&mut sections)?;
    man.render_options_section(&mut sections)?;
    // One section for each subcommand: its parts have no heading of the first rank.
    for line in sections.split_inclusive(|&byte| byte == b'\n') {
        page.extend_from_slice(if line.starts_with(b".SH ") { b".PP\n" } else { line });
    }
    Ok(())
}

fn print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Reads a duration such as `10s`, `500ms` or `1m 30s`.
///
/// # Errors
/// Says what is wrong and how to write one.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write 10s, 500ms or 1m30s"))
}

/// Reads a duration that is not zero.
///
/// # Errors
/// As [`duration`], or it is zero.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.is_zero() {
        return Err("it must be longer than nothing".to_owned());
    }
    Ok(duration)
}

/// Reads a timeout of a connection: a duration that is not zero and at most 12 days, which is what the library counts to.
///
/// # Errors
/// As [`positive_duration`], or it is longer.
pub fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = positive_duration(text)?;
    if timeout > LONGEST_TIMEOUT {
        return Err("it must be at most 12 days".to_owned());
    }
    Ok(timeout)
}

const LONGEST_TIMEOUT: Duration = Duration::from_secs(12 * 86_400);

/// Reads how many loops run: 1 to 1024, which is what the library has names for; 0 is one for each processor.
///
/// # Errors
/// It is more, or no number.
pub fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count <= MOST_THREADS => Ok(count),
        Ok(_) => Err(format!("there are at most {MOST_THREADS}")),
        Err(_) => Err("not a number".to_owned()),
    }
}

const MOST_THREADS: usize = 1024;

/// Reads a count of at least 1.
///
/// # Errors
/// It is zero, or no number.
pub fn positive_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err("not a whole number".to_owned()),
    }
}

/// Reads a size in bytes such as `64KiB`, `1MB` or `512`; it is at least 1.
///
/// # Errors
/// Says what is wrong and how to write one.
pub fn size(text: &str) -> Result<usize, String> {
    let ByteSize(bytes) = ByteSize::from_str(text).map_err(|_| "not a size; write 64KiB, 1MB or 512".to_owned())?;
    match usize::try_from(bytes) {
        Ok(0) => Err("it must be at least one byte".to_owned()),
        // An allocation has to fit in half of the address space.
        Ok(bytes) if isize::try_from(bytes).is_ok() => Ok(bytes),
        _ => Err("that is more than memory can hold".to_owned()),
    }
}

/// Reads the address of a stream socket: `tcp://HOST:PORT`, `HOST:PORT`, `unix:/path` or `unix:@name`.
///
/// # Errors
/// Says what is wrong and what to write instead.
pub fn stream_address(text: &str) -> Result<Address, String> {
    match address(text) {
        Ok(address) if address.is_datagram() => Err("it is for datagrams; write a tcp:// or unix: address".to_owned()),
        result => result,
    }
}

/// Reads an IP address of this machine, with or without a port; without one it is 0.
///
/// # Errors
/// Says how to write one.
pub fn local_address(text: &str) -> Result<SocketAddr, String> {
    let without_port = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    without_port.or_else(|_| text.parse()).map_err(|_| "write an IP address such as 127.0.0.2 or [::1]:4000".to_owned())
}

/// Reads the address of any socket: what [`stream_address`] reads, `udp://HOST:PORT`, `unix-dgram:/path` or
/// `unix-dgram:@name`.
///
/// # Errors
/// Says what is wrong and what to write instead.
pub fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|error: AddressError| error.to_string())
}

/// Makes one line of an error with several paragraphs, and leaves out the usage.
fn one_line(rendered: &str) -> String {
    let end = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|mark| rendered.find(mark)).min();
    let text = rendered[..end.unwrap_or(rendered.len())].replace("\n\n", "; ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let mut line = String::new();
    for word in text.split_whitespace() {
        let space = if line.is_empty() { "" } else { " " };
        line.push_str(space);
        // What was typed may hold anything, and the terminal should not obey it.
        word.chars().for_each(|char| match char.is_control() {
            true => line.extend(char.escape_default()),
            false => line.push(char),
        });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        for bad in ["", "ten", "10", "-1s", "1x"] {
            assert!(duration(bad).unwrap_err().contains("write 10s"), "{bad}");
        }
        assert!(positive_duration("0s").is_err());
    }

    #[test]
    fn timeouts_and_threads_are_what_the_library_takes() {
        assert_eq!(timeout("12days"), Ok(Duration::from_secs(12 * 86_400)));
        assert!(timeout("12days 1ms").unwrap_err().contains("12 days"));
        assert!(timeout("0s").is_err());
        assert_eq!((threads("0"), threads("1024")), (Ok(0), Ok(1024)));
        assert!(threads("1025").unwrap_err().contains("1024"));
        assert!(threads("-1").is_err());
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1MB"), Ok(1_000_000));
        assert_eq!(size("512"), Ok(512));
        for bad in ["", "much", "-1", "0", "64XB", "9EiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn datagrams_are_refused_by_name_where_streams_are_wanted() {
        for datagrams in ["udp://127.0.0.1:1", "unix-dgram:/s"] {
            assert!(stream_address(datagrams).unwrap_err().contains("datagrams"));
            assert!(address(datagrams).is_ok());
        }
        assert!(stream_address("127.0.0.1:1").is_ok());
    }

    #[test]
    fn an_error_of_many_lines_becomes_one() {
        let rendered =
            "error: unexpected argument '--x\x1b' found\n\n  tip: write '--y'\n\nUsage: a [OPTIONS]\n\nFor more";
        assert_eq!(one_line(rendered), r"unexpected argument '--x\u{1b}' found; tip: write '--y'");
    }
}
