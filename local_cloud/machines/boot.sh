#!/bin/bash
# Turns itself into PID 1 of a machine: builds /dev, /proc, /sys and /run over the machine's own root disk,
# makes that disk its root and becomes the disk's own init. It starts as the first process of new mount,
# PID, network, UTS, IPC and control-group namespaces, where it still sees the host's files.
#
# Told on standard input and output: it says its PID, waits for "go" (the network is there then), says "up".
# Environment: ROOT (an empty folder), DISK (number of the root disk's loop device), ADDRESS, GATEWAY, RESOLVER,
# PUBLIC (its public address, if any), HOST_NAME, SEARCH (domain), CA (certificates to trust besides the disk's own),
# GPUS (how many), GPU_TEXT (sed's commands that put the model into the driver's tools), GUEST (files for /run).
set -eu

read -r pid _ < /proc/self/stat   # the host's /proc, hence the PID that the host sees
echo "$pid"
read -r go
[ "$go" = go ]

node() { mknod -m "$2" "/dev/$1" "$3" "$4" "$5"; }

make_dev() {
  local has_fuse=""
  [ -e /dev/fuse ] && has_fuse=yes
  mount -t tmpfs -o mode=755,nosuid,size=1m tmpfs /dev
  node null 666 c 1 3; node zero 666 c 1 5; node full 666 c 1 7
  node random 666 c 1 8; node urandom 666 c 1 9; node tty 666 c 5 0
  [ -z "$has_fuse" ] || node fuse 666 c 10 229
  node nvme0n1p1 660 b 7 "$DISK"
  ln -s nvme0n1p1 /dev/nvme0n1; ln -s nvme0n1p1 /dev/xvda; ln -s nvme0n1p1 /dev/xvda1
  ln -s /proc/self/fd /dev/fd; ln -s fd/0 /dev/stdin; ln -s fd/1 /dev/stdout; ln -s fd/2 /dev/stderr
  mkdir /dev/pts /dev/shm /dev/mqueue
  mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts /dev/pts
  ln -s pts/ptmx /dev/ptmx
  mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm
  mount -t mqueue mqueue /dev/mqueue
}

make_gpus() {
  local index tool lib=$ROOT/usr/lib/local-cloud
  [ "$GPUS" -gt 0 ] || return 0
  # Character devices that nothing answers on; opening one fails as it does without the driver's module.
  for index in $(seq 0 $((GPUS - 1))); do node "nvidia$index" 666 c 195 "$index"; done
  node nvidiactl 666 c 195 255
  node nvidia-uvm 666 c 510 0
  [ -e "$lib/driver-built-for" ] || return 0   # an AMI without the driver
  mkdir -p "$ROOT/run/nvidia/bin"
  for tool in "$GUEST"/nvidia/*; do
    sed "$GPU_TEXT" "$tool" > "$ROOT/run/nvidia/bin/${tool##*/}"
    chmod 755 "$ROOT/run/nvidia/bin/${tool##*/}"
  done
  if [ "$(sed -n 's/^kernel\t//p' "$lib/packages.tsv" | cut -f 1,2)" != "$(cut -f 1,2 "$lib/driver-built-for")" ]; then
    echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest" \
      "NVIDIA driver is installed and running." > "$ROOT/run/nvidia/fault"
  fi
}

make_cgroups() {
  local top=$ROOT/sys/fs/cgroup id names rest folder one
  if ! grep -qv '^0::' /proc/self/cgroup; then
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$top"
    return
  fi
  mount -t tmpfs -o mode=755,nosuid,nodev,noexec tmpfs "$top"
  while IFS=: read -r id names rest; do
    [ -n "$id$rest" ]
    if [ -z "$names" ]; then
      mkdir "$top/unified"; mount -t cgroup2 cgroup2 "$top/unified"
      continue
    fi
    folder=${names#name=}
    mkdir "$top/$folder"
    case $names in
      name=*) mount -t cgroup -o "none,$names" cgroup "$top/$folder" ;;
      *) mount -t cgroup -o "$names" cgroup "$top/$folder"
         for one in ${folder//,/ }; do [ -e "$top/$one" ] || ln -s "$folder" "$top/$one"; done ;;
    esac
  done < /proc/self/cgroup
  if [ ! -d "$top/systemd" ]; then
    mkdir "$top/systemd"; mount -t cgroup -o none,name=systemd cgroup "$top/systemd"
  fi
}

make_run() {
  mount -t tmpfs -o mode=755,nosuid,nodev,size=20% tmpfs "$ROOT/run"
  mkdir -p "$ROOT/run/lock" "$ROOT/run/systemd/resolve" "$ROOT/run/systemd/system" "$ROOT/run/local-cloud"
  cp -r "$GUEST/systemd/." "$ROOT/run/systemd/system/"
  local unit
  while read -r unit; do
    ln -s /dev/null "$ROOT/run/systemd/system/$unit"
  done < <(grep -v '^#' "$GUEST/masked-units.txt")
  printf 'nameserver %s\nsearch %s\n' "$RESOLVER" "$SEARCH" > "$ROOT/run/systemd/resolve/resolv.conf"
  # The disk keeps its own list of authorities: the cloud's is laid over it for this boot alone.
  local bundle=$ROOT/etc/ssl/certs/ca-certificates.crt
  if [ -f "$bundle" ]; then
    cat "$bundle" "$CA" > "$ROOT/run/local-cloud/ca-certificates.crt"
    mount --bind "$ROOT/run/local-cloud/ca-certificates.crt" "$bundle"
  fi
}

make_network() {
  ip link set lo up
  ip address add "$ADDRESS/32" dev eth0
  ip link set eth0 up
  ip route add "$GATEWAY" dev eth0 scope link
  ip route add default via "$GATEWAY" dev eth0 src "$ADDRESS"
  # EC2 translates the public address on the way; here the machine takes what is for it, unseen among its own.
  [ -z "$PUBLIC" ] || ip route add local "$PUBLIC/32" dev lo
}

grow_disk() {
  # As cloud-init does at boot, but before the mount: growing a mounted one needs CAP_SYS_RESOURCE.
  local blocks size
  blocks=$(dumpe2fs -h /dev/nvme0n1p1 2> /dev/null | sed -n 's/^Block count: *//p')
  size=$(blockdev --getsize64 /dev/nvme0n1p1)
  [ -n "$blocks" ] && [ $((blocks * 4096)) -lt $((size - size % 4096)) ] || return 0
  e2fsck -fp /dev/nvme0n1p1 > /dev/null || [ $? -le 1 ]
  resize2fs /dev/nvme0n1p1 > /dev/null 2>&1
}

make_network
make_dev
grow_disk
mount -t ext4 -o noatime,noinit_itable /dev/nvme0n1p1 "$ROOT"
mount -t proc -o nosuid,noexec,nodev proc "$ROOT/proc"
mount -t sysfs -o nosuid,noexec,nodev,ro sysfs "$ROOT/sys"
make_cgroups
make_run
make_gpus
mount --move /dev "$ROOT/dev"
# Kernel settings belong to the host, but those of the network to the machine's own namespace.
mount --bind "$ROOT/proc/sys" "$ROOT/proc/sys"
mount -o remount,bind,ro "$ROOT/proc/sys"
cat /proc/sys/kernel/random/uuid > "$ROOT/run/local-cloud/boot_id"
mount --bind "$ROOT/run/local-cloud/boot_id" "$ROOT/proc/sys/kernel/random/boot_id"
mount --bind "$ROOT/proc/sys/net" "$ROOT/proc/sys/net"
mount -o remount,bind,rw "$ROOT/proc/sys/net"
hostname "$HOST_NAME"

cd "$ROOT"
pivot_root . .
umount -l .
cd /
echo up
exec > /dev/null < /dev/null
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin container=ec2 /usr/lib/systemd/systemd
