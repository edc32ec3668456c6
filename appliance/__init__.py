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
    network, timekeeping, access, syslog, updates
                  topics: what is wrong with the wanted settings, what files follow from them
    fields        what may stand in a field
    backup, sealed
                  what a backup holds, and its encryption
    passwords     the console's, judged and hashed
    answers_file, answers
                  answers of the first boot in all their forms, and what they mean
    migrations    what later versions call differently in proxy.ini
    release       a release as one signed file, judged before it is used
    readings      what programs and files of Linux say, as values
    verb          what a verb is; the command line and the menu are made from the same ones

The world:
    system        the only door to programs and disk; `dry_run` one that only takes notes;
                  `owners` knows whose files are, `pages` what proxy and supervisord say
    login         the console's password, and the wait after wrong ones
    facts         what the machine and its proxy are like now
    overview      what an operator wants to know at first sight, and what to do about it
    reset         factory reset, which a power cut does not leave half done
    self_test     whether the node works, asked before a change and after it
    journal       what was there before the change that is not final yet
    commit        applies a plan so that a power cut leaves the old state or the new one
    install       places a release: units, drop-ins, users, links; `files/` mirrors the machine
    disk          grows the root file system
    answer_sources, first_boot
                  finds answers; sets the machine up in steps

Diagnosis, each outcome with a remedy:
    access_log    the proxy's access log as values
    arrivals      who tries to reach the port, seen on the wire
    diagnosis     what the parts share, and the words of a firewall ticket
    diagnose_machine, diagnose_network, diagnose_logs, diagnose_arrivals
                  the questions: to the machine, outwards, to the log collector, inwards
    diagnostics   all of them, and those of proxy's `check`, within one deadline
    bundle        what support may see, by allow-list; `scrub` takes secrets out of logs

What an operator can do:
    audit         a line in the journal for each verb that changed something
    commit_verbs  confirm, rollback, recover
    keeping       the appliance's own settings, put in force
    settings_verbs, zone_verbs, platform_verbs, certificate_verbs
                  the proxy by setting, by zone, towards the platform, and its certificate
    network_verbs, firewall_verbs, access_verbs, machine_verbs, service_verbs, backup_verbs,
    power_verbs   the machine: network, SSH, clock, log, updates, processes, backups, restart
    renewal       supervisord and all that it keeps replaced, while others serve
    diagnose_verbs
    first_boot_verbs
                  the first boot, for its unit and the console's wizard
    upgrade, trial, upgrade_verbs
                  a release beside the old one, tried, switched to, watched, or taken back
    release_build makes a release
    verbs         all of them; `loading` those that begin with one word

The console, in front of the same verbs:
    view, effects what a screen shows, and what a key on it leads to
    screens, entry, form, editor
                  the screens; pure, as `menu`, `form_fields` and `telling`, which fill them
    draft         proxy.ini while it is edited, kept when the line breaks or nobody is there
    wizard        the answers of the first boot, typed
    makers        screens that need to know this machine
    work          one verb in a thread
    ends          the screens before a verb is done and after it
    terminal      draws and reads keys; the only file that knows the toolkit
    rest          waits for a key in its place while nobody is there
    console       the stack of screens; carries out what they ask for
    cli_values, interruption, cli
                  the command agent-proxy-appliance

The path of one change, `network set`:
    verb: current settings and facts -> wanted settings -> validate: every problem at once
    -> plan -> commit.apply: journal, files, actions, self-test -> "unconfirmed"
    -> `confirm` removes the journal; after 120 s, or a restart, `recover` restores what was there
"""
