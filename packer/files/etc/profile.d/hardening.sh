umask 027
typeset -xr TMOUT=900
