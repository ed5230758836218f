#!/bin/sh
# disk.sh FOLDER GIB: make of FOLDER/root.tar a disk that BIOS machines boot, FOLDER/box.img, and
# put its kernel and initrd beside it. Nothing is mounted and no loop device is used, so it needs
# root in a user namespace only.
set -eu
folder=$1 mib=$(($2 * 1024)) start_mib=1
PATH=$PATH:/usr/sbin:/sbin
cd "$folder"
trap 'rm -rf tree disk.raw core.img' EXIT
trap 'exit 130' INT TERM

mkdir tree # without device nodes: the kernel brings its own, and only real root can make them
tar --extract --file=root.tar --directory=tree --numeric-owner --xattrs --xattrs-include='*' \
    --exclude='./dev/*'
cp -L tree/vmlinuz kernel
cp -L tree/initrd.img initrd

truncate -s ${mib}M disk.raw
echo "label: dos
$((start_mib * 2048)),,L,*" | sfdisk --quiet disk.raw
mke2fs -q -F -t ext4 -b 4096 -L root -d tree \
    -E offset=$((start_mib << 20)),lazy_itable_init=1,lazy_journal_init=1 \
    disk.raw $(((mib - start_mib) * 256))

# GRUB: its first sector, which leaves the partition table alone, and its core before the partition.
grub-mkimage -O i386-pc -o core.img -p '(hd0,msdos1)/boot/grub' \
    biosdisk part_msdos ext2 normal linux configfile
[ "$(wc -c < core.img)" -lt $(((start_mib << 20) - 512)) ]
dd if=/usr/lib/grub/i386-pc/boot.img of=disk.raw bs=440 count=1 conv=notrunc status=none
dd if=core.img of=disk.raw bs=512 seek=1 conv=notrunc status=none
qemu-img convert -c -O qcow2 disk.raw box.img
