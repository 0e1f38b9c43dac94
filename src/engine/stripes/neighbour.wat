;; Reads one byte anywhere within 4 GiB of its own memory. Its first page is an image of the
;; artifact, as those of tenants are.
(component
  (core module $module
    (memory (export "memory") 1)
    ;; The list that `mine` returns: where it is, and its length.
    (data (i32.const 0) "\10\00\00\00\04\00\00\00")
    (data (i32.const 16) "mine")
    (func (export "mine") (result i32) (i32.const 0))
    (func (export "read") (param i32) (result i32) (i32.load8_u (local.get 0))))
  (core instance $core (instantiate $module))
  (alias core export $core "memory" (core memory $memory))
  (func (export "mine") (result (list u8))
    (canon lift (core func $core "mine") (memory $memory)))
  (func (export "read") (param "address" u32) (result u32)
    (canon lift (core func $core "read")))
  ;; What tells the engine: not called.
  (instance $handler)
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
