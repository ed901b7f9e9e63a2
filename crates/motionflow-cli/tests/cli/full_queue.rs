//! A queue whose store is full: workers wait, and `queue clean` makes it usable again.

use std::fs;

use crate::cluster::{Cluster, Running};
use crate::common::{run, text};
use crate::nats::{Server, wait_for};

#[test]
fn a_worker_waits_while_the_store_is_full() {
    let config = tempfile::NamedTempFile::new().unwrap();
    fs::write(&config, "jetstream { max_file_store: 4MB }\n").unwrap();
    let Some(server) = Server::start(&["--config", &text(config.path())]) else { return };
    let cluster = Cluster::new(server.address());
    cluster.submit("panda", &[]).ok();
    let large = cluster.place.path("large.mp4");
    fs::write(&large, vec![7; 6 << 20]).unwrap();
    let none = cluster.place.text("none");
    let filling = ["--source", &text(&large), "--model", &none, "--prompt", "a [cat]"];
    let told = run(cluster.command(&["submit"]).args(filling)).fails(1, &["make room for it"]);
    assert_eq!(told.stderr.matches("esources").count(), 1, "{}", told.stderr);
    let worker = Running::begin(&mut cluster.worker(&[]), cluster.place.path("log"));
    wait_for("a worker that waits", || worker.said().contains("waits for the queue"));
    // What was half written goes once it is older than two leases.
    wait_for("a finished job", || {
        run(&mut cluster.command(&["queue", "clean", "--older-than", "0.00001", "--limit", "0"]));
        worker.said().contains("job panda: finished")
    });
    assert_eq!(worker.said().matches("waits for the queue").count(), 1, "{}", worker.said());
}
