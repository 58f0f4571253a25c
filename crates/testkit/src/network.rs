//! Hosts of their own on this machine: network namespaces of Linux around one switch, which a test cuts in two and joins again.
//!
//! Packets of the parts of a cut are lost without a word to anybody, as on a network that broke: connections stay open until their ends give
//! up. It needs root and `ip`; without them there is a reason to say. Dropping a [`Network`] takes its namespaces away; nodes in them are to
//! be dropped before.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Networks that this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Some hosts that reach each other, and nothing else.
#[derive(Debug)]
pub struct Network {
    name: String,
    hosts: Vec<Host>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Host {
    namespace: String,
    /// Where the others reach it.
    pub address: Ipv4Addr,
}

impl Network {
    /// So many hosts, all of which reach all.
    ///
    /// # Errors
    /// Why this machine cannot have any.
    pub fn new(hosts: u8) -> Result<Network, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("network namespaces need root".to_owned());
        }
        // Names of interfaces have at most 15 characters.
        let name = format!("j{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let mut network = Network { name, hosts: Vec::new() };
        let switch = network.switch();
        ip(&["netns", "add", &switch])?;
        for side in SIDES {
            ip(&["-n", &switch, "link", "add", side, "type", "bridge"])?;
            ip(&["-n", &switch, "link", "set", side, "up"])?;
        }
        for number in 0..hosts {
            let host = network.host_to_add(number);
            ip(&["netns", "add", &host.namespace])?;
            let namespace = host.namespace.clone();
            let address = format!("{}/24", host.address);
            network.hosts.push(host);
            let port = port(number);
            let cable =
                ["-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns"];
            ip(&[&cable[..], &[&namespace]].concat())?;
            ip(&["-n", &switch, "link", "set", &port, "master", SIDES[0], "up"])?;
            ip(&["-n", &namespace, "address", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
            ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        }
        Ok(network)
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.name)
    }

    fn host_to_add(&self, number: u8) -> Host {
        Host { namespace: format!("{}-{number}", self.name), address: Ipv4Addr::new(10, 77, 0, number + 1) }
    }

    /// One of the hosts, counted from 0.
    pub fn host(&self, number: usize) -> &Host {
        &self.hosts[number]
    }

    /// These hosts reach each other and nobody else, and so do the others.
    pub fn cut(&self, apart: &[u8]) {
        for number in (0..).take(self.hosts.len()) {
            let side = SIDES[usize::from(apart.contains(&number))];
            ip(&["-n", &self.switch(), "link", "set", &port(number), "master", side])
                .expect("a port changes sides");
        }
    }

    /// All reach all again.
    pub fn heal(&self) {
        self.cut(&[]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let hosts = self.hosts.iter().map(|host| host.namespace.clone());
        for namespace in hosts.chain([self.switch()]) {
            // One that was not made cannot be taken away.
            let _ = ip(&["netns", "delete", &namespace]);
        }
    }
}

impl Host {
    /// What a command begins with to run there.
    pub fn prefix(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.namespace]
    }

    /// Does something there, on a thread of its own: sockets that it makes are the host's.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            let namespace = File::open(format!("/run/netns/{}", self.namespace)).expect("the host is there");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("a thread can go there");
        };
        std::thread::scope(|scope| {
            let done = scope.spawn(|| {
                enter();
                work()
            });
            done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// The bridges; all hosts are at the first one unless they were cut off.
const SIDES: [&str; 2] = ["one", "other"];

fn port(number: u8) -> String {
    format!("port{number}")
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| format!("ip: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("ip {}: {}", arguments.join(" "), told.trim())) }
}
