"""Stand-ins that speak the protocol over sockets: a platform and two generations of agents.

They share no code with the proxy (HTTP by h11, WebSocket by wsproto, threads instead of gevent),
so that a mistake of the proxy cannot be hidden by the same mistake here. Each is a program
(`python -m tests.fakes.platform`, `python -m tests.fakes.agents`) and a class with start() and
stop() for tests in the same process; port 0 lets the system choose.

    wire          TLS contexts, dialling, a listener with a thread per connection
    messages      HTTP/1.1, both ends
    websocket     WebSocket, both ends
    certificates  self-signed certificates
    journal       what the platform saw, readable, without tokens and keys
    platform      the stand-in platform, with known, sessions; control is how others order it about
    fault_relay   TCP that goes wrong as it is told, between the proxy and whoever it dials
    name_server   DNS that answers, fails, or says nothing
    world         what surrounds a worker: names, defects at a signal
    agents        the program; first_agent, last_agent
"""
