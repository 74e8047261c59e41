//! A load balancer before a server under test: haproxy(1).

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

use tempfile::TempDir;

/// One that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Haproxy {
    child: Child,
    /// Where clients connect.
    pub address: SocketAddr,
    _place: TempDir,
}

impl Haproxy {
    /// Passes connections on to a server, which sees them come from [`OWN_ADDRESS`]; `options` are those of haproxy's line `server`.
    #[must_use]
    pub fn before(server: SocketAddr, options: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("haproxy.cfg");
        let config = format!(
            "defaults\n mode tcp\n timeout connect 60s\n timeout client 60s\n timeout server 60s\n\
             listen l\n bind fd@3\n server s {server} source {OWN_ADDRESS} {options}\n"
        );
        fs::write(&path, config).unwrap();
        // It is given a socket on which clients may wait already.
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec haproxy -q -db -f "$0" 3<&0 </dev/null"#]).arg(path);
        let child = command.stdin(OwnedFd::from(socket)).spawn().unwrap();
        Self { child, address, _place: place }
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the balancer itself connects from.
pub const OWN_ADDRESS: &str = "127.0.0.9";
