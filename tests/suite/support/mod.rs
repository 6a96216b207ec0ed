//! What the tests share: messages as bytes, an upstream that says what it is told, a responder around it, scripts;
//! and for tests on real sockets a daemon, a client and an upstream.

pub mod admin_api;
pub mod api;
pub mod client;
pub mod fake_arm;
pub mod fake_server;
pub mod forwarding;
pub mod message;
pub mod odd;
pub mod postgres;
pub mod running;
pub mod script;
pub mod scripted;
pub mod served;
pub mod skip;
pub mod storage;
pub mod test_daemon;
pub mod upstream;
pub mod words;
pub mod world;
