// Real BullMQ producers and workers, driven by JSON lines: {"n": 1, "do": "add", "v": 5, ...} on standard input,
// {"n": 1, "gives": ...} or {"n": 1, "error": ...} on standard output, and {"ran": ...} for every job that a
// worker begins. Ends with its input.
'use strict';
const readline = require('node:readline');
const Redis = require('ioredis');

const libraries = { 5: require('bullmq5'), 6: require('bullmq6') };
const open = [];
const held = [];
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function connection(url) {
  const parts = new URL(url);
  return {
    host: parts.hostname,
    port: Number(parts.port || 6379),
    db: Number(parts.pathname.slice(1) || 0),
    password: decodeURIComponent(parts.password) || undefined,
    username: decodeURIComponent(parts.username) || undefined,
    maxRetriesPerRequest: null,
  };
}

const fail = {
  error: (job) => { throw new Error(`boom for ${job.name}`); },
  type: () => { throw new TypeError('x is not a function'); },
  network: () => { const e = new Error('connect ECONNREFUSED 10.0.0.7:443'); e.code = 'ECONNREFUSED'; throw e; },
  string: () => { throw 'a bare string'; },
  odd: () => { throw new Error('Ünï ☃ \u0000 \ud800 "quoted"\nsecond line'); },
};

// record: a list in Redis that gets the id of each job that is begun, before anything else
// mode: "fail" throws what data.fail says; "ok" never; "again" throws where data.again is set; "hold" ends with release
async function work(library, { url, prefix, queue, mode, name, record, concurrency = 4, slow = 0 }) {
  const records = record && new Redis(connection(url));
  const process_ = async (job) => {
    if (record) await records.rpush(record, job.id);
    say({ ran: job.id, queue, name: job.name, data: job.data ?? null, made: job.attemptsMade, priority: job.priority, mode });
    if (slow) await sleep(slow);
    if (mode === 'hold') await new Promise((done) => held.push(done));
    if (mode === 'fail' && job.data && job.data.fail) fail[job.data.fail](job);
    if (mode === 'again' && job.data && job.data.again === 'same') fail.network(job);
    if (mode === 'again' && job.data && job.data.again) throw new Error('connect ECONNREFUSED, again');
    return 1;
  };
  const worker = new library.Worker(queue, process_, {
    connection: connection(url), prefix, name, concurrency, drainDelay: 1, lockDuration: 5000, stalledInterval: 30000,
  });
  worker.on('error', (error) => say({ trouble: String(error) }));
  await worker.waitUntilReady();
  open.push({ close: async () => { await worker.close(); if (record) records.disconnect(); } });
}

async function withQueue(library, { url, prefix, queue }, use) {
  const one = new library.Queue(queue, { connection: connection(url), prefix });
  one.on('error', (error) => say({ trouble: String(error) }));
  try {
    return await use(one);
  } finally {
    await one.close();
  }
}

const commands = {
  add: (library, ask) => withQueue(library, ask, async (queue) =>
    (await queue.addBulk(ask.jobs)).map((job) => job.id)),
  flow: async (library, ask) => {
    const producer = new library.FlowProducer({ connection: connection(ask.url), prefix: ask.prefix });
    try {
      const made = await producer.add(ask.flow);
      return { parent: made.job.id, children: made.children.map((child) => child.job.id) };
    } finally {
      await producer.close();
    }
  },
  work,
  release: async () => { held.splice(0).forEach((done) => done()); },
  rest: async () => { held.splice(0).forEach((done) => done()); await Promise.all(open.splice(0).map((worker) => worker.close())); },
  remove: (library, ask) => withQueue(library, ask, async (queue) => (await queue.getJob(ask.id)).remove()),
  drain: (library, ask) => withQueue(library, ask, (queue) => queue.drain()),
  pause: (library, ask) => withQueue(library, ask, (queue) => queue.pause()),
  resume: (library, ask) => withQueue(library, ask, (queue) => queue.resume()),
  counts: (library, ask) => withQueue(library, ask, (queue) => queue.getJobCounts()),
  states: (library, ask) => withQueue(library, ask, async (queue) =>
    Promise.all(ask.ids.map(async (id) => { const job = await queue.getJob(id); return job ? job.getState() : 'gone'; }))),
  // adds jobs that succeed, some milliseconds apart, and says how many
  produce: (library, ask) => withQueue(library, ask, async (queue) => {
    let made = 0;
    for (const until = Date.now() + ask.ms; Date.now() < until; made++) {
      await queue.add('noise', { noise: made }, { removeOnComplete: true });
      await sleep(3);
    }
    return made;
  }),
};

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const ask = JSON.parse(line);
  try {
    say({ n: ask.n, gives: (await commands[ask.do](libraries[ask.v || 5], ask)) ?? null });
  } catch (error) {
    say({ n: ask.n, error: String((error && error.stack) || error) });
  }
}).on('close', () => process.exit(0));
say({ n: 0, gives: process.version });
