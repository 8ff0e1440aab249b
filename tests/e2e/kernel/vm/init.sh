#!/bin/busybox sh
# The VM's first process: the host's files below a layer in memory become the root, then a command
# of the host's runs, and the machine is switched off. What the host wants is in the folder "share".
fail() {
    echo "init: $*"
    poweroff -f
}

/bin/busybox --install -s /bin
export PATH=/bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do
    insmod "$module" || fail "no $module"
done

cd /mnt
mkdir host layer root share
plan9() {
    mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$3" "$1" "$2" || fail "no $1"
}
plan9 host host ro,cache=loose # the host changes nothing that we have read, or at least shouldn't
plan9 share share cache=none   # what is written is there at once, even if we crash
mount -t tmpfs tmpfs layer
mkdir layer/upper layer/work
mount -t overlay -o lowerdir=host,upperdir=layer/upper,workdir=layer/work overlay root ||
    fail "no overlay"

cd root
for folder in proc run tmp dev sys; do
    [ -d $folder ] || mkdir $folder
done
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs run
mount --move /sys sys
mount --move /dev dev
mkdir dev/shm dev/pts run/vm
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t devpts -o ptmxmode=666 devpts dev/pts
ln -s /proc/self/fd dev/fd
mkdir run/vm/share
mount --move /mnt/share run/vm/share
cp /bin/busybox run/vm/busybox
hostname vm
ip link set lo up

exec switch_root . /run/vm/busybox sh /run/vm/share/start
