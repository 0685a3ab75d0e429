//! What the documentation shows does what it says: the rules of its pages, the ready files, the bounds, the pictures.
//!
//! Everything runs through `simulate`, the engine that serves, on the time that a trace tells.

mod bounds;
mod headers;
mod pages;
mod pictures;
mod ready;
mod reload;
mod run;
