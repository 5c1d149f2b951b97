#!/usr/bin/env bash
# A Slurm of one node for tests: munged, slurmctld and slurmd, run by hand as root from Debian's
# packages, without systemd, cgroups or a database. All it writes lies in one folder, but for a link
# to its configuration at /etc/slurm/slurm.conf: the plugin's job steps drop SLURM_CONF.
#
#   cluster.sh check   exits with one paragraph where this machine does not allow it
#   cluster.sh up      installs what is missing and starts; does nothing where it runs already
#   cluster.sh down    cancels the jobs, ends the three daemons, removes the link, keeps the logs
#
# MEDAE_SLURM_DIR names the folder.
set -euo pipefail

DIR=$(realpath -m "${MEDAE_SLURM_DIR:-/tmp/medae-slurm}")
CONF=$DIR/slurm.conf
LINK=/etc/slurm/slurm.conf
NODE=$(hostname -s)
GPUS=2
DAEMONS=(slurmd slurmctld munged) # in the order in which they end
PACKAGES=(munge slurmctld slurmd slurm-client)

refuse() {
    printf '%s\n' "$*" >&2
    exit 1
}

fail() {
    tail -n 5 "$DIR"/log/* >&2
    down >&2
    refuse "The Slurm in $DIR did not start: $*. The last lines of its logs stand above."
}

# A daemon is ours when its command line names our folder, so a reused pid is nobody's.
pid_of() {
    local pid
    pid=$(cat "$DIR/run/$1.pid" 2>/dev/null) && grep -qs "$DIR/" "/proc/$pid/cmdline" && echo "$pid"
}

wait_for() { # SECONDS COMMAND…
    local tries=$(($1 * 5))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.2
    done
}

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }
node_is_idle() { [ "$(sinfo --noheader --format %T | sort -u)" = idle ]; }
no_jobs() { [ -z "$(squeue --noheader)" ]; }
is_gone() { [ -z "$(pid_of "$1")" ]; }

check() {
    local found='' name pid file
    [ "$(id -u)" = 0 ] || refuse "The test of Slurm needs root: it installs ${PACKAGES[*]} and starts them."
    command -v apt-get >/dev/null || refuse "The test of Slurm needs apt-get for Debian's packages ${PACKAGES[*]}."
    for file in "${SLURM_CONF:-$CONF}" "$LINK"; do
        if [ -e "$file" ] && [ "$(readlink -f "$file")" != "$CONF" ]; then found=$file; fi
    done
    for name in slurmctld slurmd; do
        for pid in $(pgrep -x "$name"); do
            # A process that has ended but was not yet waited for has an empty command line.
            if tr "\\0" " " <"/proc/$pid/cmdline" | grep -qv "$DIR/"; then found="$name, process $pid"; fi
        done
    done
    if command -v sbatch >/dev/null && ! installed slurm-client; then found=$(command -v sbatch); fi
    [ -z "$found" ] || refuse "This machine has a Slurm already ($found), which the test leaves alone. To try" \
        "the profile there, follow docs/slurm.md; to run the test, use a machine or container without Slurm."
}

configure() {
    local i
    mkdir -p "$DIR"/{run,log,state,spool,gpu}
    # A GPU is a copy of /dev/null: Slurm counts and binds it like a real one.
    : >"$DIR/gres.conf"
    for ((i = 0; i < GPUS; i++)); do
        [ -e "$DIR/gpu/$i" ] || mknod -m 666 "$DIR/gpu/$i" c 1 3
        echo "NodeName=$NODE Name=gpu File=$DIR/gpu/$i" >>"$DIR/gres.conf"
    done
    cat >"$CONF" <<END
ClusterName=medae
SlurmctldHost=$NODE(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$DIR/munge/socket
CredType=cred/munge
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/spool
SlurmctldPidFile=$DIR/run/slurmctld.pid
SlurmdPidFile=$DIR/run/slurmd.pid
SlurmctldLogFile=$DIR/log/slurmctld.log
SlurmdLogFile=$DIR/log/slurmd.log
# No cgroups: processes are found by their parents, and memory is polled.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
ReturnToService=2
KillWait=5
MailProg=/bin/true
# No database: finished jobs stay in the controller's memory, where squeue finds them.
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MinJobAge=3600
# What can never run is refused at submission instead of pending for ever.
EnforcePartLimits=ALL
SchedulerParameters=batch_sched_delay=0,bf_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
# The node claims what a small machine may not have, so that the GPUs are what jobs queue on.
SlurmdParameters=config_overrides
NodeName=$NODE NodeAddr=127.0.0.1 CPUs=4 RealMemory=32000 Gres=gpu:$GPUS State=UNKNOWN
PartitionName=cpu Nodes=$NODE Default=YES MaxTime=3-0 State=UP
PartitionName=gpu Nodes=$NODE MaxTime=3-0 State=UP
END
}

up() {
    local package missing=()
    check
    for package in "${PACKAGES[@]}"; do
        installed "$package" || missing+=("$package")
    done
    mkdir -p "$DIR/log"
    if [ ${#missing[@]} -gt 0 ]; then
        echo "Installing ${missing[*]}"
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
            --no-install-recommends "${missing[@]}"; } >"$DIR/log/apt.log" 2>&1 || fail apt-get
    fi
    [ -n "$(pid_of slurmd)" ] || configure
    mkdir -p "${LINK%/*}"
    ln -sf "$CONF" "$LINK"
    if [ -z "$(pid_of munged)" ]; then
        # Our own key and socket: a munged of the machine's is neither used nor touched.
        install -d -o munge -g munge "$DIR/munge"
        [ -e "$DIR/munge/key" ] || runuser -u munge -- mungekey --create --keyfile "$DIR/munge/key"
        runuser -u munge -- /usr/sbin/munged --key-file "$DIR/munge/key" --socket "$DIR/munge/socket" \
            --pid-file "$DIR/munge/munged.pid" --seed-file "$DIR/munge/seed" \
            --log-file "$DIR/munge/munged.log" || fail munged
        ln -sf "$DIR/munge/munged.pid" "$DIR/run/munged.pid"
    fi
    if [ -z "$(pid_of slurmctld)" ]; then
        # -c: jobs of an earlier start are forgotten
        /usr/sbin/slurmctld -c -f "$CONF" || fail slurmctld
        wait_for 15 scontrol ping || fail "slurmctld does not answer"
    fi
    if [ -z "$(pid_of slurmd)" ]; then
        /usr/sbin/slurmd -f "$CONF" || fail slurmd
        wait_for 30 node_is_idle || fail "node $NODE is not ready"
    fi
    timeout 30 srun --chdir=/ --partition gpu --gpus 1 --mem 50 --time 1 true || fail "a job of one GPU did not run"
    echo "Slurm runs in $DIR"
}

down() {
    local name pid
    if [ -n "$(pid_of slurmctld)" ]; then
        scancel --user root
        wait_for 20 no_jobs || echo "Jobs were left when Slurm ended."
    fi
    for name in "${DAEMONS[@]}"; do
        pid=$(pid_of "$name") || continue
        kill -TERM "$pid"
        wait_for 20 is_gone "$name" || kill -KILL "$pid"
        echo "Ended $name ($pid)"
    done
    if [ "$(readlink "$LINK")" = "$CONF" ]; then rm "$LINK"; fi
}

case "${1:-}" in
check | up | down) "$1" ;;
*) refuse "usage: $0 check|up|down" ;;
esac
