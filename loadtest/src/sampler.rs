//! CPU time and memory of the server's processes, from `/proc`.
