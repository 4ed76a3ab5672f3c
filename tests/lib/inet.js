// A small internet of the test's own, in network namespaces: a middle that forwards, hosts with public addresses (10.9.N.2), and sites:
// a router that translates addresses (NAT) and lets nothing in, with one machine behind it (192.168.1.2 in each). Nothing leaves them.
import { inNewNetwork, makeOurs, run, startNeighbour } from './lan.js';

/** {host(name), site(name), close()}: each place has {within: the command that runs a program there, address, neighbour(): a process of lib/neighbour.js there}. */
export async function startInternet() {
  const [enter, middle] = await makeOurs();
  const children = [middle];
  const into = (pid) => ['nsenter', '-t', String(pid), ...enter];
  const inside = into(middle.pid);
  let subnets = 0;

  const namespace = async () => {
    const child = await inNewNetwork([...inside, 'unshare', '-n', 'cat']);
    children.push(child);
    await run([...into(child.pid), 'ip', 'link', 'set', 'lo', 'up']);
    return { within: into(child.pid), pid: child.pid };
  };
  const ip = (place, line) => run([...place.within, 'ip', ...line.split(' ')]);
  const forward = (place) => run([...place.within, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
  const nft = (place, ...lines) => run([...place.within, 'nft', lines.join('\n')]);
  const cable = async (a, b, aAddress, bAddress) => {
    const [x, y] = [`v${++subnets}a`, `v${subnets}b`];
    await ip(a, `link add ${x} type veth peer name ${y} netns ${b.pid}`);
    await ip(a, `addr add ${aAddress} dev ${x}`);
    await ip(b, `addr add ${bAddress} dev ${y}`);
    await ip(a, `link set ${x} up`);
    await ip(b, `link set ${y} up`);
    return { a: x, b: y };
  };
  const complete = (place, address, port) => Object.assign(place, {
    address,
    async neighbour() {
      const child = await startNeighbour(place.within);
      children.push(child);
      return child;
    },
    /** Nothing passes any more, in either direction, without a word: a cable that was pulled. */
    pull: () => nft(port.place, 'add table inet cut', 'add chain inet cut in { type filter hook forward priority -10; policy drop; }',
      'add chain inet cut own { type filter hook input priority -10; policy drop; }', 'add chain inet cut out { type filter hook output priority -10; policy drop; }'),
    plug: () => nft(port.place, 'delete table inet cut'),
    /** From now on every so many of a hundred packets are lost. */
    lose: (percent) => nft(port.place, 'add table inet lossy', 'add chain inet lossy on { type filter hook forward priority -5; }',
      `add rule inet lossy on numgen random mod 100 < ${percent} drop`),
    loseNone: () => nft(port.place, 'delete table inet lossy'),
    /** Of the whole cable: were it of one end alone, what is too long would vanish without a word, where a router tells the sender. */
    async mtu(bytes) {
      await ip(place, `link set ${port.inner} mtu ${bytes}`);
      await ip(port.place, `link set ${port.outer} mtu ${bytes}`);
    },
  });
  const world = { within: inside, pid: middle.pid };
  const close = () => { for (const child of children.reverse()) child.kill('SIGKILL'); };
  try {
    await ip(world, 'link set lo up');
    await forward(world);
  } catch (error) {
    close();
    throw error;
  }
  return {
    close,
    async host() {
      const place = await namespace(), n = subnets + 1;
      const ends = await cable(world, place, `10.9.${n}.1/24`, `10.9.${n}.2/24`);
      await ip(place, `route add default via 10.9.${n}.1`);
      return complete(place, `10.9.${n}.2`, { place, inner: ends.b });
    },
    async site() {
      const router = await namespace(), machine = await namespace(), n = subnets + 1;
      await cable(world, router, `10.9.${n}.1/24`, `10.9.${n}.2/24`);
      await ip(router, `route add default via 10.9.${n}.1`);
      const inner = await cable(router, machine, '192.168.1.1/24', '192.168.1.2/24');
      await ip(machine, 'route add default via 192.168.1.1');
      await forward(router);
      await nft(router, 'add table ip nat', 'add chain ip nat post { type nat hook postrouting priority 100; }',
        `add rule ip nat post ip saddr 192.168.1.0/24 masquerade`,
        'add table inet guard', 'add chain inet guard through { type filter hook forward priority 0; policy drop; }',
        `add rule inet guard through iifname "${inner.a}" accept`, 'add rule inet guard through ct state established,related accept');
      return complete(machine, '192.168.1.2', { place: router, inner: inner.b, outer: inner.a });
    },
  };
}
