"""The agent proxy: the way between a cloud management platform and agents it cannot reach.

One port, both directions; who calls decides which (docs: README, the wire: PROTOCOL).

Pure, no socket, clock or log; tested without any of them:
    errors        what can go wrong, with its HTTP status and whose fault it is
    fields, heads, reader, http1
                  bytes <-> heads, body pieces, END; every limit and all strictness
    headers       what is stripped and what is added, in each direction
    route         the Agent-Route field: parse, next hop, seal, mint
    proxyproto    PROXY protocol v2, as balancers speak it
    shapes, declaration, declarations*, values, inifile, gathering, consistency, settings
                  proxy.ini as a frozen Settings, or every problem of it at once
    zones         which listeners there should be, and which zone a caller is in
    patience      how long an exchange waits, and for whom
    callers       who is calling, and what the platform is told of an agent
    destinations  where a call may go: the rules for agents and peers
    policy        what is done with a request
    answers       all that the proxy says in its own voice
    migration     the old Java proxy's file as a proxy.ini

One kind of I/O each:
    configuration reads proxy.ini, secrets and the environment
    tls           the contexts; `certificates` and `chain` make and judge files (command line only)
    interfaces    what the kernel says of a network interface
    stream        TLS over a non-blocking socket, `accepted` or `dialled`; `deadline` bounds
                  every wait
    resolver      name look-ups, bounded, for every connect of a worker
    lease         a connected, verified socket for one exchange; the only file that knows urllib3
    upstream      leases from the platform's addresses; `agents` from agents and peers
    relay         one exchange; `tunnel` what follows a 101
    outlet        where lines of a log go, without waiting for their reader; `rotation` is loaded
                  by that reader, supervisord
    telemetry     counters, recent errors, one access-log line per exchange; `logs` the events,
                  `metrics` the counters as Prometheus reads them
    places        how many connections each zone and source may hold, and holds
    descriptors   how many of them the system grants
    memory        gives what is free inside the process back to the system
    duplicates    whether two agents seem to share one identity
    siblings      how the workers of a node ask each other
    probe         questions to an upstream for `check`; `outcome` is one line of it

Put together:
    connection    the life of one accepted socket; `own` answers what is asked of the proxy itself,
                  `voice` says what went wrong
    node          all that one configuration turns into, swapped whole on reload
    introduction  the PROXY header of a balancer's connection
    worker        one process: signals, limits, drain; `entrances` watches the zones' listeners,
                  `listener` opens them, `handover` passes them on, `admin` shows all,
                  `lookout` compares what the workers have seen,
                  `cautions` what is dangerous
    watchdog      replaces workers that hang or grow; `health` decides, `local` asks, `revival`
                  starts what supervisord has given up
    check         is the node ready; `check_listeners`, `check_networks`, `check_upstream` its parts
    verbs, certificate_verbs, status_text, arguments, cli, __main__
                  the command line

The path of one request of an agent:
    worker accepts, callers classifies by source address -> connection.run: TLS under a deadline
    -> http1 reads the head -> policy.decide: Forward(target, rewrite) or an answer of our own
    -> relay: headers rewrites, upstream or agents lease, the body follows, the response comes back
    -> the lease is kept only if it is proved clean -> telemetry writes one line -> next request
A call of the platform takes the same path; the direction is a value in Forward.
"""

__version__ = "0.1.0"
