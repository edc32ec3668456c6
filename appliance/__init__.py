"""The appliance: what turns a Debian machine into an agent proxy that an operator can trust.

It imports `proxy`, never the reverse. What shall be is kept apart from doing it.

Values, no world at all:
    errors        what was refused, each with the way to correct it
    codec, model  the appliance's own settings, and their file
    plan          what is to be done, as a value: files, removals, actions
    verb          what a verb is; the command line and the menu are made from the same ones

The world:
    system        the only door to programs and disk; `dry_run` one that only takes notes
    commit        applies a plan so that a power cut leaves the old state or the new one

What an operator can do:
    commit_verbs  confirm, rollback, recover
    verbs         all of them
    cli_values, cli
                  the command agent-proxy-appliance

The path of one change, `network set`:
    verb: current settings and facts -> wanted settings -> validate: every problem at once
    -> plan -> commit.apply: journal, files, actions, self-test -> "unconfirmed"
    -> `confirm` removes the journal; after 120 s, or a restart, `recover` restores what was there
"""
