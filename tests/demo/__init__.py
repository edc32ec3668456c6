"""The demonstration behind `make run`: real agents, a real platform, the real proxy between them.

Only agents and platform are stand-ins (tests/fakes); the proxy runs as it does on a server, by
conf/supervisord.conf, and differs from it by settings alone (var/demo/proxy.ini).

    __main__      options; with an upstream configured no stand-ins, only supervisord
    places        addresses and ports of everybody
    belongings    what is made once under var/: ID, secret, certificates, derived configuration
    supervision   supervisord: start, look, end without leaving a process
    steps         what is shown, one line per step
"""
