//! A wrong byte, a doubled, lost or surplus message and a broken connection are each found and told in one line.

mod common;
mod load_support;

use std::io::{Read, Write};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use common::DEADLINE;
use load_support::{SIZE, answering, command, complaint, fake_server, finish, load, texts};
use rustix::process::{Pid, Signal, kill_process};

/// Many more messages than any of these servers answers right.
const LOAD: &[&str] = &["-c", "1", "--messages", "1000000"];

#[test]
fn a_flipped_bit_is_found_where_it_is() {
    let target = answering(|number, mut message| {
        message[33] ^= u8::from(number == 7);
        Some(message)
    });
    let line = complaint(&target, LOAD);
    assert!(line.starts_with("wrong echo on connection 0: message 7 differs at byte 33: sent 0x"), "{line}");
}

#[test]
fn a_message_that_comes_twice_is_found() {
    let target = answering(|number, message| Some(if number == 3 { message.repeat(2) } else { message }));
    let line = complaint(&target, LOAD);
    assert!(line.starts_with("wrong echo on connection 0: "), "{line}");
    // Whether the next message was on its way when the copy came is a race.
    let told = ["message 3 once more", "64 bytes came back after all of the", "differs at byte"];
    assert!(told.iter().any(|told| line.contains(told)), "{line}");
}

#[test]
fn an_old_message_in_the_place_of_a_new_one_is_recognized() {
    let first = Arc::new(Mutex::new(Vec::new()));
    let target = answering(move |number, message| {
        let mut first = first.lock().unwrap();
        if number == 0 {
            first.clone_from(&message);
        }
        Some(if number == 5 { first.clone() } else { message })
    });
    let line = complaint(&target, LOAD);
    assert!(line.contains("message 5 differs at byte 0") && line.contains("(it is message 0 once more)"), "{line}");
}

#[test]
fn a_lost_message_is_found_by_the_one_that_follows() {
    let target = answering(|number, message| Some(if number == 4 { Vec::new() } else { message }));
    let line = complaint(&target, &["-c", "1", "--depth", "2", "--messages", "1000"]);
    assert!(line.contains("message 4 differs at byte 0") && line.contains("it is message 5: what is"), "{line}");
}

#[test]
fn a_lost_byte_is_found() {
    let target = answering(|number, message| Some(message[usize::from(number == 4)..].to_vec()));
    let line = complaint(&target, &["-c", "1", "--depth", "2", "--messages", "1000"]);
    assert!(line.contains("message 4 differs at byte 0: "), "{line}");
}

#[test]
fn a_connection_that_is_closed_early_is_told_and_the_others_go_on() {
    let target = answering(|number, message| (number < 10).then_some(message));
    let output = load(&["-c", "3", "--messages", "1000", "--json", &target]);
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("the server closed it after 10 echoed messages, with 1 on their way"), "{stderr}");
    assert!(stderr.contains("3 broken connections in all"), "{stderr}");
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&report["echoed"], &report["failures"]["broken"]), (&30.into(), &3.into()), "{report}");
}

#[test]
fn a_reset_is_told_with_its_cause() {
    let address = fake_server(|mut stream| {
        // Closing with unread bytes resets.
        let mut some = [0; SIZE / 2];
        let _ = stream.read_exact(&mut some);
    });
    let line = complaint(&address.to_string(), LOAD);
    assert!(line.contains("broke after 0 echoed messages") && line.contains("reset"), "{line}");
}

#[test]
fn a_message_that_never_comes_back_is_told() {
    let target = answering(|number, message| Some(if number < 6 { message } else { Vec::new() }));
    // So many that each connection has to send its seventh.
    let line = complaint(&target, &["-c", "2", "--messages", "14"]);
    assert!(line.contains("message 6 had not come back"), "{line}");
    assert!(line.ends_with("2 unanswered messages in all"), "{line}");
}

#[test]
fn a_server_that_answers_and_does_not_close_is_only_remarked_on() {
    let address = fake_server(|mut stream| {
        let mut message = [0; SIZE];
        while stream.read_exact(&mut message).is_ok() {
            let _ = stream.write_all(&message);
        }
        // It stays open for as long as this test runs.
        loop {
            thread::park();
        }
    });
    let output = load(&["-c", "2", "--messages", "10", &address.to_string()]);
    let (_, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("WARN") && stderr.contains("2 connections were still open"), "{stderr}");
}

#[test]
fn churn_checks_bytes_too() {
    let target = answering(|_, mut message| {
        message[SIZE - 1] ^= 0x80;
        Some(message)
    });
    let line = complaint(&target, &["-c", "1", "--messages", "10", "--churn"]);
    assert!(line.contains("message 0 differs at byte 63"), "{line}");
}

#[test]
fn a_second_signal_does_not_wait_for_what_never_comes() {
    let (sender, arrived) = mpsc::channel();
    let target = answering(move |_, _| {
        let _ = sender.send(());
        Some(Vec::new())
    });
    let child = command(&["-c", "1", "--duration", "1h", "--warmup", "0s", &target]).spawn().unwrap();
    arrived.recv_timeout(DEADLINE).unwrap();
    let pid = Pid::from_child(&child);
    // Two of a kind might become one.
    for signal in [Signal::INT, Signal::TERM] {
        kill_process(pid, signal).unwrap();
    }
    let output = finish(child);
    let (stdout, stderr) = texts(&output);
    // Had it waited, the message would be told as unanswered.
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("the run ended early"), "{stdout}");
}
