//! Which TCP congestion control is in force. Under another one a stream costs another third: such runs do not compare.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, ensure};
use benches::load;
use rustix::net::sockopt::tcp_congestion;

use crate::server::Server;
use crate::survey::Survey;

/// The one congestion control that the load and all servers use. A server of ours that cannot be told to is left out.
///
/// # Errors
/// A server of the user's uses another one.
pub(crate) fn check(survey: &mut Survey) -> anyhow::Result<String> {
    let mut control = String::new();
    let mut unknown = Vec::new();
    for server in survey.servers.clone() {
        let (of_load, of_server) = used_with(survey, &server)?;
        match of_server {
            Some(used) if used != of_load => {
                let advice = format!(
                    "{} sends with TCP congestion control {used}, the load with {of_load}, and they would not compare: \
                     sysctl net.ipv4.tcp_congestion_control={of_load}",
                    server.name
                );
                ensure!(server.is_optional, advice);
                survey.servers.retain(|other| other.name != server.name);
                survey.results.note(format!("Left out: {advice}."));
            }
            Some(_) => {}
            None => unknown.push(server.name),
        }
        control = of_load;
    }
    if !unknown.is_empty() {
        let names = unknown.join(", ");
        survey.results.note(format!("ss(8) does not tell which TCP congestion control is used by {names}."));
    }
    Ok(control)
}

/// What the load's end and the server's end of a connection use.
fn used_with(survey: &Survey, server: &Server) -> anyhow::Result<(String, Option<String>)> {
    let process = survey.start(server)?;
    let clients = load::connect(process.address, 1).context("cannot connect")?;
    let of_load = tcp_congestion(&clients[0])?;
    Ok((of_load, used_by_server(clients[0].local_addr()?, process.address)))
}

/// What ss(8) says of the server's end of a connection. `None`: it is not installed, or does not see the connection.
fn used_by_server(client: SocketAddr, server: SocketAddr) -> Option<String> {
    let filter = format!("( sport = :{} and dport = :{} )", server.port(), client.port());
    let output = Command::new("ss").args(["-tinH", "state", "all", &filter]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    name_in(&text)
}

/// The line of details names the control among other words; it is the one that the kernel offers.
fn name_in(text: &str) -> Option<String> {
    let offered = fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control").ok()?;
    let is_offered = |word: &&str| offered.split_ascii_whitespace().any(|name| name == *word);
    text.split_ascii_whitespace().find(is_offered).map(str::to_owned)
}
