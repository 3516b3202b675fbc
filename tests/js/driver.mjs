// Official JavaScript clients, driven by JSON lines on stdin; what happens to them is told as JSON lines on stdout.
// `tests/clients.py` is the other end. In and out, `{"$binary": base64}` stands for binary data.
import { createInterface } from 'node:readline';
import { stdin, stdout } from 'node:process';
import { EventSource } from 'eventsource';

const sockets = new Map();

const revive = (key, value) => (value && value.$binary !== undefined ? Buffer.from(value.$binary, 'base64') : value);

const tell = (id, event, rest = {}) => stdout.write(JSON.stringify({ id, event, ...rest }) + '\n');

const verbs = {
  async connect({ id, version, url, options }) {
    const { io } = await import(version);
    const socket = io(url, { forceNew: true, ...options });
    sockets.set(id, socket);
    socket.io.on('open', () => {
      socket.io.engine.on('upgrade', (transport) => tell(id, 'upgrade', { transport: transport.name }));
    });
    socket.on('connect', () => {
      const transport = socket.io.engine.transport.name;
      tell(id, 'connect', { sid: socket.id, recovered: socket.recovered ?? false, transport });
    });
    socket.on('connect_error', (error) => tell(id, 'connect_error', { message: error.message }));
    socket.on('disconnect', (reason) => tell(id, 'disconnect', { reason }));
    socket.onAny((name, ...args) => tell(id, 'message', { name, args }));
  },

  listen({ id, url, headers }) {
    const source = new EventSource(url, {
      fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } }),
    });
    sockets.set(id, { disconnect: () => source.close() });
    source.onopen = () => tell(id, 'connect');
    source.onerror = ({ code }) =>
      source.readyState === EventSource.CLOSED ? tell(id, 'refused', { status: code }) : tell(id, 'disconnect');
    for (const name of ['eventReminder', 'cursor', 'replayed']) {
      source.addEventListener(name, ({ data, lastEventId }) =>
        tell(id, 'message', { name, args: [JSON.parse(data)], lastEventId }),
      );
    }
  },

  emit({ id, args, ack }) {
    const acked = (...answer) => tell(id, 'ack', { ack, args: answer });
    sockets.get(id).emit(...args, ...(ack === undefined ? [] : [acked]));
  },

  disconnect({ id }) {
    sockets.get(id)?.disconnect();
    sockets.delete(id);
  },
};

for await (const line of createInterface({ input: stdin })) {
  const { verb, ...rest } = JSON.parse(line, revive);
  await verbs[verb](rest);
}
for (const socket of sockets.values()) {
  socket.disconnect();
}
