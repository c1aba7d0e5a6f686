#!/bin/sh
# Installs Slurm's daemons where that takes no more than apt-get and root; says why not where it cannot.
set -eu
have() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null; }
if have munged && have slurmctld && have slurmd && have sbatch; then exit 0; fi
[ "$(id -u)" = 0 ] || { echo "Slurm is not installed, and installing it needs root"; exit 1; }
have apt-get || { echo "Slurm is not installed, and there is no apt-get to install it with"; exit 1; }
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge; } >"$log" 2>&1 ||
    { tail -n 3 "$log"; echo "Slurm is not installed, and apt-get could not install it"; exit 1; }
