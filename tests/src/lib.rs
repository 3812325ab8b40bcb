//! Whole-system tests live in `tests/`: the house rules, the papers, a class in simulated time. The real
//! browser is driven from `interop/`.
