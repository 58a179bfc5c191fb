/** Where the initramfs lists the modules to load: one a line, the path and the parameters. */
export const MODULE_LIST = '/etc/modules'

/** The virtio-serial port of the command channel, see channel.ts. */
export const COMMAND_PORT = '/dev/vport0p1'

/** A port of the test's own: what a guest program writes to it arrives at Guest.stream while the program runs. */
export const STREAM_PORT = '/dev/vport0p2'

/**
 * /init of the guests: loads the modules, then runs what comes over the command channel until the channel ends. A
 * request is the line `ID BASE64` with a shell script; the answer the line `done ID STATUS N M`, N bytes of stdout and
 * M bytes of stderr. Scripts are run by dash, because busybox's shell takes its own applets for programs of the same
 * name.
 */
export const INIT_SCRIPT = `#!/bin/busybox sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /mnt
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
while read -r path parameters; do
  insmod "$path" $parameters
done < ${MODULE_LIST}
tries=0
while [ ! -e ${COMMAND_PORT} ] || [ ! -e ${STREAM_PORT} ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 500 ] || { echo 'init: no virtio-serial ports'; poweroff -f; }
  sleep 0.02
done
exec 3<> ${COMMAND_PORT}
echo "ready $(cat /proc/sys/kernel/random/boot_id)" >&3
while read -r id script <&3; do
  echo "$script" | base64 -d > "/tmp/$id.sh"
  /bin/dash "/tmp/$id.sh" > "/tmp/$id.out" 2> "/tmp/$id.err" < /dev/null 3>&-
  status=$?
  echo "done $id $status $(stat -c %s "/tmp/$id.out") $(stat -c %s "/tmp/$id.err")" >&3
  cat "/tmp/$id.out" "/tmp/$id.err" >&3
  rm "/tmp/$id.sh" "/tmp/$id.out" "/tmp/$id.err"
done
poweroff -f
`
