//! A server is as many loops as were asked for, each with its own state, that share their listeners and end together.

mod common;
#[path = "common/more.rs"]
mod more;

use std::cell::RefCell;
use std::fs;
use std::io::ErrorKind;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use common::{Client, Echo, any_port, eventually};
use more::hold;
use reactor::{
    Balance, Context, Handler, Input, Limits, ListenOptions, Metrics, Result, Server, ServerBuilder, ServerHandle,
    Sharing, SocketAddress, UnixName,
};

const WAYS: [Sharing; 4] = [
    Sharing::Exclusive,
    Sharing::Handover(Balance::RoundRobin),
    Sharing::Handover(Balance::FewestConnections),
    Sharing::ReusePort,
];

const AMPLE: Duration = Duration::from_secs(60);

/// An echo server of two loops that share in this way.
fn echo(sharing: Sharing) -> Server {
    listening(Server::builder().threads(2), sharing).start().expect("a server can be made")
}

fn listening(builder: ServerBuilder, sharing: Sharing) -> ServerBuilder {
    builder.listen_with(any_port(), &ListenOptions::default(), sharing, |_| Echo).expect("port 0 is free")
}

fn client(server: &Server) -> Client {
    let mut client = Client::connect(&server.local_addresses()[0]);
    client.send("ping");
    client.expect("ping");
    client
}

/// Connections open on each loop.
fn open(server: &Server) -> Vec<u64> {
    server.handle().loops().iter().map(|handle| handle.metrics().open).collect()
}

/// Says which loop it is on, and where that was made.
struct Introduce;

impl Handler<Rc<RefCell<(usize, String)>>> for Introduce {
    fn on_data(&mut self, cx: &mut Context<'_, Rc<RefCell<(usize, String)>>>, input: &mut Input<'_>) -> Result {
        input.take();
        let state = Rc::clone(cx.state());
        let (index, made_on) = &*state.borrow();
        let same = *made_on == format!("{:?}", thread::current().id());
        assert_eq!(cx.id().loop_index(), *index);
        cx.send(format!("{index} {same} {}\n", thread::current().name().unwrap_or_default()))
    }
}

#[test]
fn each_loop_makes_its_state_on_its_own_thread() {
    let state = |index| Rc::new(RefCell::new((index, format!("{:?}", thread::current().id()))));
    let builder = Server::with_state(state).threads(3);
    let sharing = Sharing::Handover(Balance::RoundRobin);
    let builder =
        builder.listen_with(any_port(), &ListenOptions::default(), sharing, |_| Introduce).expect("port 0 is free");
    let server = builder.start().expect("a server can be made");
    let mut seen: Vec<_> = (0..3)
        .map(|_| {
            let mut client = Client::connect(&server.local_addresses()[0]);
            client.send("who is there?");
            client.end();
            String::from_utf8(client.receive_to_end()).expect("it is text")
        })
        .collect();
    seen.sort();
    assert_eq!(seen, ["0 true reactor-0\n", "1 true reactor-1\n", "2 true reactor-2\n"]);
}

#[test]
fn every_way_of_sharing_serves_everybody() {
    for sharing in WAYS {
        let server = echo(sharing);
        let clients: Vec<_> = (0..100).map(|_| client(&server)).collect();
        assert_eq!(open(&server).iter().sum::<u64>(), 100, "{sharing:?}");
        assert!(
            sharing == Sharing::Exclusive || open(&server).iter().all(|&open| open > 0),
            "{sharing:?}: {:?}",
            open(&server)
        );
        drop(clients);
        eventually("all are gone", || server.handle().metrics().open == 0);
        let report = server.handle().shutdown(AMPLE).expect("no loop fails");
        assert_eq!((report.clean, report.cut), (0, 0));
    }
}

#[test]
fn each_loop_in_turn_is_an_even_spread() {
    let server = echo(Sharing::Handover(Balance::RoundRobin));
    let _clients: Vec<_> = (0..40).map(|_| client(&server)).collect();
    assert_eq!(open(&server), [20, 20]);
}

#[test]
fn the_fewest_connections_are_evened_out() {
    let server = echo(Sharing::Handover(Balance::FewestConnections));
    let mut clients: Vec<_> = (0..40).map(|_| client(&server)).collect();
    assert_eq!(open(&server), [20, 20]);
    let mut index = 0;
    clients.retain(|_| {
        index += 1;
        index % 2 == 0
    });
    eventually("half are gone", || server.handle().metrics().open == 20);
    assert!(open(&server).contains(&0), "the clients of one loop have left: {:?}", open(&server));
    clients.extend((0..20).map(|_| client(&server)));
    assert_eq!(open(&server), [20, 20]);
}

#[test]
fn loops_that_sleep_take_turns_when_one_is_busy() {
    let server = echo(Sharing::Exclusive);
    for busy in 0..2 {
        let held = hold(&server.handle().loops()[busy]);
        (0..10).for_each(|_| drop(client(&server)));
        drop(held);
    }
}

#[test]
fn a_second_server_on_the_port_fails() {
    for sharing in WAYS {
        let server = echo(sharing);
        let taken = server.local_addresses()[0].to_string();
        for second in [Sharing::Exclusive, Sharing::ReusePort] {
            let result = Server::builder().listen_with(&*taken, &ListenOptions::default(), second, |_| Echo);
            let both_share = (sharing, second) == (Sharing::ReusePort, Sharing::ReusePort);
            match result {
                Ok(_) => assert!(both_share, "{sharing:?} lets {second:?} in"),
                Err(error) => {
                    assert!(!both_share && error.kind() == ErrorKind::AddrInUse, "{sharing:?} {second:?}: {error}");
                    assert!(error.to_string().contains(&taken), "{error}");
                }
            }
        }
    }
}

#[test]
fn two_servers_share_a_port_by_reuse_port() {
    let first = echo(Sharing::ReusePort);
    let address = first.local_addresses()[0].to_string();
    let builder = Server::builder().threads(2);
    let second = builder.listen_with(&*address, &ListenOptions::default(), Sharing::ReusePort, |_| Echo);
    let second = second.expect("the port is shared").start().expect("a server can be made");
    let clients: Vec<_> = (0..64).map(|_| client(&first)).collect();
    let [ours, theirs] = [&first, &second].map(|server| server.handle().metrics().open);
    assert!(ours > 0 && theirs > 0 && ours + theirs == 64, "{ours} and {theirs}");
    drop(clients);
    first.handle().shutdown(AMPLE).expect("no loop fails");
    (0..10).for_each(|_| drop(client(&second)));
}

#[test]
fn a_unix_socket_is_shared_too_but_not_by_reuse_port() {
    let directory = tempfile::tempdir().expect("there is room");
    for (number, sharing) in WAYS.into_iter().enumerate() {
        let path = directory.path().join(number.to_string());
        let address = SocketAddress::from(UnixName::Path(path.clone())).to_string();
        let listening =
            Server::builder().threads(2).listen_with(&*address, &ListenOptions::default(), sharing, |_| Echo);
        let server = match (sharing, listening.and_then(ServerBuilder::start)) {
            (Sharing::ReusePort, result) => {
                assert!(result.is_err(), "it is for TCP only");
                continue;
            }
            (_, result) => result.expect("the name is free"),
        };
        (0..20).for_each(|_| drop(client(&server)));
        assert!(path.exists());
        server.handle().shutdown(AMPLE).expect("no loop fails");
        drop(server);
        assert!(!path.exists(), "{sharing:?} leaves its path behind");
    }
}

#[test]
fn pinned_loops_stay_on_one_processor_each() {
    let processors = |_| {
        let status = fs::read_to_string("/proc/thread-self/status").expect("proc is mounted");
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        Rc::new(RefCell::new((0, line.expect("there is such a line").trim().to_owned())))
    };
    let server = Server::with_state(processors).threads(2).pin_threads(true).start().expect("a server can be made");
    let (sender, seen) = std::sync::mpsc::channel();
    for handle in server.handle().loops() {
        let sender = sender.clone();
        handle
            .execute(move |cx| sender.send(cx.state().borrow().1.clone()).expect("the test waits"))
            .expect("the loop runs");
    }
    for _ in 0..2 {
        let processors = seen.recv().expect("each answers");
        assert!(processors.parse::<u32>().is_ok(), "{processors}");
    }
}

#[test]
fn there_are_as_many_loops_as_asked_for() {
    let loops = |count| Server::builder().threads(count).start().map(|server| server.handle().loops().len());
    assert_eq!(loops(5).expect("a server can be made"), 5);
    assert_eq!(loops(0).expect("a server can be made"), thread::available_parallelism().expect("it is known").get());
    assert_eq!(loops(1025).expect_err("that is too many").kind(), ErrorKind::InvalidInput);
}

#[test]
fn addresses_come_in_the_order_in_which_they_were_added() {
    let name = format!("unix:@reactor-server-test-{}", std::process::id());
    let builder = Server::builder().listen(any_port(), |_| Echo).expect("port 0 is free");
    let builder = builder.listen(&*name, |_| Echo).expect("the name is free");
    let builder = builder.listen("127.0.0.2:0", |_| Echo).expect("port 0 is free");
    let bound = builder.local_addresses();
    let server = builder.start().expect("a server can be made");
    assert_eq!(server.local_addresses(), bound);
    assert_eq!((bound[1].to_string(), bound[0].is_unix(), bound.len()), (name, false, 3));
    for address in bound {
        let mut client = Client::connect(&address);
        client.send("ping");
        client.expect("ping");
    }
}

#[test]
fn the_figures_of_the_loops_add_up() {
    let server = echo(Sharing::Handover(Balance::RoundRobin));
    let clients: Vec<_> = (0..10).map(|_| client(&server)).collect();
    let figures = |sum: &Metrics| (sum.open, sum.accepted, sum.bytes_in, sum.bytes_out);
    // An answer may be here before its bytes are counted.
    eventually("all is counted", || figures(&server.handle().metrics()) == (10, 10, 40, 40));
    let mut sum = Metrics::default();
    server.handle().loops().iter().for_each(|handle| sum += handle.metrics());
    assert_eq!(figures(&sum), (10, 10, 40, 40));
    drop(clients);
}

#[test]
fn a_handle_goes_anywhere() {
    fn goes_anywhere<T: Clone + Send + Sync>(_: &T) {}
    // Whatever the state is.
    let server = Server::with_state(|_| Rc::new(())).start().expect("a server can be made");
    goes_anywhere(&server.handle());
    goes_anywhere(&server.handle().loops()[0]);
    let handle: ServerHandle<Rc<()>> = server.handle();
    let other = thread::spawn(move || handle.shutdown(AMPLE));
    server.wait().expect("no loop fails");
    other.join().expect("it does not panic").expect("no loop fails");
}

#[test]
fn everybody_who_waits_is_given_the_report() {
    let server = echo(Sharing::Handover(Balance::RoundRobin));
    let clients: Vec<_> = (0..6).map(|_| client(&server)).collect();
    let handle = server.handle();
    let report = handle.shutdown(AMPLE).expect("no loop fails");
    assert_eq!((report.clean, report.cut, report.unsent), (6, 0, 0));
    assert_eq!(handle.shutdown(AMPLE).expect("no loop fails"), report);
    handle.stop();
    assert_eq!(server.wait().expect("no loop fails"), report);
    drop(clients);
}

#[test]
fn a_server_that_is_dropped_ends() {
    let server = echo(Sharing::Exclusive);
    let address = server.local_addresses()[0].clone();
    let mut client = client(&server);
    let handle = server.handle();
    drop(server);
    client.expect_end();
    Client::try_connect(&address).expect_err("nobody listens");
    assert_eq!((handle.metrics().open, handle.metrics().closed.cut), (0, 1));
}

/// Nothing is left of a server whose start failed.
#[track_caller]
fn assert_fails_cleanly(builder: ServerBuilder, cause: &str) {
    let address = builder.local_addresses()[0].to_string();
    let Err(error) = builder.start() else { panic!("it starts") };
    assert!(error.to_string().contains(cause), "{error}");
    let again = Server::builder().listen(&*address, |_| Echo);
    assert!(again.is_ok(), "the port is still in use after the start has failed");
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let mut limits = Limits::default();
    limits.mailbox = 0;
    assert_fails_cleanly(listening(Server::builder().threads(2).limits(limits), Sharing::Exclusive), "mailbox");
    for _ in 0..50 {
        let fails_late = Server::with_state(|index| assert!(index < 2, "on purpose")).threads(3);
        assert_fails_cleanly(listening(fails_late, Sharing::Exclusive), "closure panicked");
    }
}

#[test]
fn a_server_without_listeners_runs_until_it_is_told() {
    let server = Server::builder().threads(2).start().expect("a server can be made");
    let handle = server.handle();
    assert_eq!(server.local_addresses(), []);
    handle.begin_shutdown(AMPLE);
    server.wait().expect("no loop fails");
}
