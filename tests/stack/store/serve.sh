#!/bin/sh
# A real S3 server in one process group: Ceph's monitor, one disk in a file, and the object gateway. It needs Debian's
# ceph-mon, ceph-osd and radosgw, and root. What was acknowledged survives kill -9 and a start with the same folder.
#
#   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY   the keys of its only user; required
#   STORE_DATA=/data  STORE_ADDRESS=0.0.0.0  STORE_PORT=8333  STORE_MONITOR_PORT=3300  STORE_SIZE=20G (sparse)
set -eu

: "${AWS_ACCESS_KEY_ID:?}" "${AWS_SECRET_ACCESS_KEY:?}"
data=${STORE_DATA:-/data}
address=${STORE_ADDRESS:-0.0.0.0}
port=${STORE_PORT:-8333}
monitor=127.0.0.1:${STORE_MONITOR_PORT:-3300}
conf=$data/ceph.conf
export CEPH_CONF=$conf

mkdir -p "$data/mon" "$data/osd" "$data/gateway" "$data/run" "$data/log"
[ -f "$data/fsid" ] || cat /proc/sys/kernel/random/uuid > "$data/fsid"

cat > "$conf" <<END
[global]
fsid = $(cat "$data/fsid")
mon_host = v2:$monitor
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
keyring = $data/keyring
run_dir = $data/run
admin_socket = $data/run/\$name.asok
pid_file =
log_file = $data/log/\$name.log
crash_dir = $data/log
osd_crush_chooseleaf_type = 0
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
auth_allow_insecure_global_id_reclaim = false
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_max_pg_per_osd = 1000
# How long what was readable before a kill stays closed after it.
osd_heartbeat_grace = 2
mon_data_avail_crit = 1
mon_data_avail_warn = 1
[mon]
mon_data = $data/mon
mon_cluster_log_file = $data/log/cluster.log
[osd]
osd_data = $data/osd
osd_objectstore = bluestore
bluestore_block_size = $(numfmt --from=iec "${STORE_SIZE:-20G}")
bluestore_cache_autotune = false
bluestore_cache_size = 134217728
osd_op_num_shards = 2
osd_class_update_on_start = false
[client]
rgw_data = $data/gateway
rgw_frontends = beast endpoint=$address:$port
rgw_thread_pool_size = 64
rgw_dynamic_resharding = false
rgw_enable_usage_log = false
rgw_run_sync_thread = false
END

stop() {
    trap - TERM INT
    # The gateway first, as it would wait for the others.
    for one in ${gateway:-} ${osd:-} ${mon:-}; do kill "$one" 2> /dev/null || :; wait "$one" || :; done
    exit "$1"
}
trap 'stop 0' TERM INT

if [ ! -f "$data/mon/made" ]; then
    rm -rf "$data/mon" && mkdir "$data/mon"
    # The gateway takes no cluster without keys.
    ceph-authtool --create-keyring "$data/keyring" --gen-key --name mon. --cap mon 'allow *'
    for one in client.admin osd.0; do
        ceph-authtool "$data/keyring" --gen-key --name "$one" --cap mon 'allow *' --cap osd 'allow *'
    done
    monmaptool --create --clobber --fsid "$(cat "$data/fsid")" --addv a "[v2:$monitor]" "$data/run/monmap"
    ceph-mon --mkfs --id a --monmap "$data/run/monmap" --keyring "$data/keyring"
    touch "$data/mon/made"
fi
ceph-mon --foreground --id a --public-addrv "[v2:$monitor]" &
mon=$!

if [ ! -f "$data/osd/made" ]; then
    rm -rf "$data/osd" && mkdir "$data/osd"
    [ -f "$data/osd-uuid" ] || cat /proc/sys/kernel/random/uuid > "$data/osd-uuid"
    ceph osd new "$(cat "$data/osd-uuid")" 0
    ceph-osd --mkfs --id 0 --osd-uuid "$(cat "$data/osd-uuid")"
    ceph osd crush add osd.0 1 root=default
    touch "$data/osd/made"
else
    # After a kill the monitor believes it to be there, and the gateway would call it where it no longer is.
    ceph osd down 0
fi
ceph-osd --foreground --id 0 &
osd=$!

if [ ! -f "$data/gateway/made" ]; then
    radosgw-admin user create --uid ratchet --display-name ratchet \
        --access-key "$AWS_ACCESS_KEY_ID" --secret-key "$AWS_SECRET_ACCESS_KEY" > /dev/null ||
        radosgw-admin user info --uid ratchet > /dev/null # made, and killed before that was noted
    touch "$data/gateway/made"
fi
radosgw --foreground --name client.admin &
gateway=$!

# None of them is any use without the others.
while kill -0 "$mon" && kill -0 "$osd" && kill -0 "$gateway"; do sleep 1; done 2> /dev/null
stop 1
