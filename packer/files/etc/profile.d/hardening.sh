umask 027
typeset -xr TMOUT=600
ulimit -c 0
