//! What the tests share: messages as bytes, an upstream that says what it is told, a responder around it, scripts.

pub mod forwarding;
pub mod message;
pub mod script;
pub mod scripted;
pub mod words;
pub mod world;
