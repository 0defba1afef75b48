# SPDX-License-Identifier: Apache-2.0
#
# Prints what an agent may change on its node, one fact a line, after the fact's name.
say() { sed -e 's/\\/ /g' -e "s/^/$1: /"; }

for i in lo eth0; do
  ip -d -o link show dev $i | sed 's/^[0-9]*: //' | say link
  ip -o address show dev $i | sed 's/^[0-9]*: //' | say address
  ip -o maddress show dev $i | sed 's/^[0-9]*://' | say multicast
  tc qdisc show dev $i | say qdisc
  for d in ingress egress; do tc filter show dev $i $d 2>/dev/null | say "filter at $d of $i"; done
  grep -H . /proc/sys/net/ipv4/conf/{all,$i}/{arp_*,rp_filter,accept_local} | say sysctl
done
bridge fdb show dev eth0 | say "filter entry"
ip rule show | say rule
# The pod network keeps its own routes, and makes them anew after a restart of the node.
ip -4 route show table all | grep -vE ' veth|^10\.244\.' | say route
ss -Hlntu | awk '{print $1, $5}' | sort -u | say listener
awk 'NR > 1 {print "protocol", $4}' /proc/net/packet | sort -u | say "packet socket"
# The locks and the socket are the agent's, which serves other clusters before and after.
find /sys/fs/bpf/kube-wlbs /var/lib/kube-wlbs /run/kube-wlbs -mindepth 1 2>/dev/null |
  grep -vx -e /var/lib/kube-wlbs/.lock -e /sys/fs/bpf/kube-wlbs/lock -e /run/kube-wlbs/agent.sock | say file
true
