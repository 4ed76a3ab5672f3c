// A LAN of the test's own: two network namespaces joined by a cable. Ours has 10.77.0.1 and fd77::1; the neighbour has
// 10.77.0.2, fd77::2 and the public 203.0.113.5, which can be reached but is on nobody's network. Nothing leaves them.
import { spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { command, until } from './drover.js';

const NEIGHBOUR = fileURLToPath(new URL('./neighbour.js', import.meta.url));
const network = (pid) => readlinkSync(`/proc/${pid}/ns/net`);

/** Starts the program that makes a namespace, and waits until it is in there. */
export async function inNewNetwork(args) {
  const child = spawn(args[0], args.slice(1), { stdio: ['pipe', 'ignore', 'pipe'] }); // `cat` ends with this process
  let said = '';
  child.stderr.on('data', (data) => { said += data; });
  const ended = new Promise((_, fail) => {
    child.on('error', fail);
    child.on('close', () => fail(new Error(said || `${args.join(' ')} has ended`)));
  });
  ended.catch(() => {});
  await Promise.race([ended, until('a network namespace', () => network(child.pid) !== network('self'), 5000)]);
  return child;
}

/** `unshare` with what this user and this machine allow: [its options, nsenter's options, the child that holds it]. */
export async function makeOurs() {
  let cause;
  for (const [make, enter] of [[['-n'], ['-n']], [['-U', '-r', '-n'], ['-U', '--preserve-credentials', '-n']]]) {
    try {
      return [enter, await inNewNetwork(['unshare', ...make, 'cat'])];
    } catch (error) {
      cause = error;
    }
  }
  throw new Error(`this test needs a network namespace of its own, as root with CAP_SYS_ADMIN or as a user who may make user namespaces: ${cause.message}`);
}

export async function run(args) {
  const { code, stdout, stderr } = await command(args[0], args.slice(1));
  if (code !== 0) throw new Error(`${args.join(' ')}: ${stderr || stdout}`);
}

/** A process of lib/neighbour.js that can be asked: `await n.ask('fake', {kind: 'ollama'})`. */
export async function startNeighbour(args) {
  const options = { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] };
  const child = spawn(args[0], [...args.slice(1), process.execPath, NEIGHBOUR], options);
  const waiting = new Map();
  let last = 0;
  child.on('message', ({ id, result, error }) => {
    const { go, fail } = waiting.get(id);
    waiting.delete(id);
    if (error) fail(new Error(error)); else go(result);
  });
  child.on('exit', () => { for (const { fail } of waiting.values()) fail(new Error('the neighbour has ended')); });
  child.ask = (what, values = {}) => new Promise((go, fail) => {
    waiting.set(++last, { go, fail });
    child.send({ id: last, what, values });
  });
  await child.ask('hello');
  return child;
}

/**
 * Makes the LAN: {within: the command that runs a program in our part, neighbour: a process in the other part,
 * startHere(): the same in our part, close()}.
 */
export async function startLan() {
  const [enter, ours] = await makeOurs();
  const children = [ours];
  const into = (pid) => ['nsenter', '-t', String(pid), ...enter];
  const within = into(ours.pid);
  const start = async (args) => {
    const child = await startNeighbour(args);
    children.push(child);
    return child;
  };
  const lan = {
    within,
    startHere: () => start(within),
    close() { for (const child of children) child.kill('SIGKILL'); },
  };
  try {
    lan.neighbour = await start([...within, 'unshare', '-n']);
    const theirs = into(lan.neighbour.pid);
    for (const line of [
      'link set lo up', `link add ours type veth peer name theirs netns ${lan.neighbour.pid}`, 'addr add 10.77.0.1/24 dev ours',
      'addr add fd77::1/64 dev ours nodad', 'link set ours up', 'route add 203.0.113.5 dev ours',
    ]) await run([...within, 'ip', ...line.split(' ')]);
    for (const line of [
      'link set lo up', 'addr add 10.77.0.2/24 dev theirs', 'addr add 203.0.113.5/32 dev theirs',
      'addr add fd77::2/64 dev theirs nodad', 'link set theirs up',
    ]) await run([...theirs, 'ip', ...line.split(' ')]);
    return lan;
  } catch (error) {
    lan.close();
    throw error;
  }
}
