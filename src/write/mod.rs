//! `Plan` → bytes.

pub mod sink;
