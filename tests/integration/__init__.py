"""The real worker, a process of its own, between scripted peers over TLS on 127.0.0.0/8."""
