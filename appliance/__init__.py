"""The appliance: what turns a Debian machine into an agent proxy that an operator can trust.

It imports `proxy`, never the reverse. What shall be is kept apart from doing it.

Values, no world at all:
    errors        what was refused, each with the way to correct it
    codec, model  the appliance's own settings, and their file
    places        where things lie, and whose they are
    plan          what is to be done, as a value: files, removals, actions
    ini_edit, proxy_setup
                  single values of proxy.ini changed, its manual left as it is; judged as a whole
    firewall      the rules that let in what the settings name
    readings      what programs and files of Linux say, as values
    verb          what a verb is; the command line and the menu are made from the same ones

The world:
    system        the only door to programs and disk; `dry_run` one that only takes notes
    facts         what the machine and its proxy are like now
    self_test     whether the node works, asked before a change and after it
    commit        applies a plan so that a power cut leaves the old state or the new one
    install       places a release: units, drop-ins, users, links; `files/` mirrors the machine

What an operator can do:
    audit         a line in the journal for each verb that changed something
    commit_verbs  confirm, rollback, recover
    settings_verbs, zone_verbs, platform_verbs
                  proxy.ini by setting, by zone, and towards the platform
    verbs         all of them
    cli_values, cli
                  the command agent-proxy-appliance

The path of one change, `network set`:
    verb: current settings and facts -> wanted settings -> validate: every problem at once
    -> plan -> commit.apply: journal, files, actions, self-test -> "unconfirmed"
    -> `confirm` removes the journal; after 120 s, or a restart, `recover` restores what was there
"""
