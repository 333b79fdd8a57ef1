//! lode: the wiring between pools, the scheduler, backends and reporters. It decides nothing about mining.
