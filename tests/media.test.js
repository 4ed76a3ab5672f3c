// Links in prompts are no way to make a runtime fetch what only it can reach.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { startFake } from './fakes/index.js';
import { startDrover } from './lib/drover.js';

let drover, fakes;
before(async () => {
  fakes = { careful: await startFake('vllm', { models: ['careful'] }), open: await startFake('vllm', { models: ['open'] }), shut: await startFake('vllm', { models: ['shut'] }) };
  drover = await startDrover({ models: Object.keys(fakes), endpoints: Object.entries(fakes).map(([name, f]) => ({ name, url: f.url,
    ...(name === 'open' ? { media_urls: 'pass' } : name === 'shut' ? { media_urls: 'refuse' } : {}) })) });
});
after(async () => {
  await drover?.stop();
  for (const fake of Object.values(fakes)) await fake.close();
});

const near = ['http://127.0.0.1/x.png', 'http://localhost:8080/', 'http://LOCALHOST./x', 'https://169.254.169.254/latest/meta-data/', 'http://metadata.google.internal/',
  'http://[::1]/x', 'http://[fe80::1]/x', 'http://[::ffff:10.0.0.1]/x', 'http://[64:ff9b::a00:1]/', 'http://[2002:7f00:1::]/x', 'http://10.1.2.3/', 'http://192.168.1.1/', 'http://172.16.0.9/',
  'http://100.64.0.1/', 'http://0/', 'http://2130706433/', 'http://0x7f000001/', 'http://127.1/', 'http://017700000001/', 'http://router/', 'http://nas.local/', 'http://user@127.0.0.1/x',
  'http://example.com@127.0.0.1/', 'file:///etc/passwd', 'HTTP://127.0.0.1/', 'http:\\\\127.0.0.1\\x', 'ftp://10.0.0.1/x', ' http://127.0.0.1/',
  'http://%31%32%37.0.0.1/', 'http:/127.0.0.1/', 'http:127.0.0.1/', 'http://\uff11\uff12\uff17.0.0.1/', 'http://example.com\\@127.0.0.1/'];
const far = ['https://example.com/a.png', 'http://93.184.216.34/a.png', 'https://[2606:2800:220:1::1]/a', 'data:image/png;base64,iVBORw0KGgo=', 'https://example.com:8443/?u=http://127.0.0.1/'];

const shapes = {
  '/v1/chat/completions': [
    (url) => [{ type: 'image_url', image_url: { url } }], (url) => [{ type: 'image_url', image_url: url }], (url) => [{ type: 'video_url', video_url: { url } }],
    (url) => [{ type: 'audio_url', audio_url: { url } }], (url) => [{ video_url: url }], (url) => [{ type: 'video', video: url }], (url) => [{ type: 'audio', audio: url }],
    (url) => [{ type: 'input_audio', input_audio: { data: url, format: 'wav' } }], (url) => [{ type: 'image', image: url }], (url) => [{ type: 'text', text: 'look' }, { image_url: { url }, type: 'image_url' }]],
  '/v1/messages': [(url) => [{ type: 'image', source: { type: 'url', url } }], (url) => [{ type: 'document', source: { type: 'url', url } }]],
};
const ask = (path, model, content) => drover.post(path, { model, max_tokens: 5, messages: [{ role: 'user', content }] });

test('a link to a near host is refused in every shape, with the reason', async () => {
  for (const [path, list] of Object.entries(shapes))
    for (const shape of list)
      for (const url of near) {
        const response = await ask(path, 'careful', shape(url));
        const body = await response.text();
        assert.equal(response.status, 400, `${path} ${JSON.stringify(shape(url))}: ${body}`);
        assert.match(body, /private or local host/);
      }
  const responses = await drover.post('/v1/responses', { model: 'careful', input: [{ role: 'user', content: [{ type: 'input_image', image_url: near[0] }] }] });
  assert.equal(responses.status, 400);
  const escaped = await drover.post('/v1/chat/completions', `{"model":"careful","messages":[{"role":"user","content":[{"\\u0074ype":"image_url","image_\\u0075rl":{"u\\u0072l":"h\\u0074tp:\\/\\/127.0.0.1/"}}]}]}`);
  assert.equal(escaped.status, 400);
  assert.equal(fakes.careful.inferences.length, 0);
});

test('a link is looked for in every API, wherever it keeps its prompts', async () => {
  for (const [path, body] of [
    ['/v1/rerank', (part) => ({ query: 'x', documents: { content: [part] } })], ['/rerank', (part) => ({ query: { content: [part] }, documents: ['a'] })],
    ['/v1/score', (part) => ({ data_1: { content: [part] }, data_2: 'x' })], ['/v1/classify', (part) => ({ prompt: [part] })],
    ['/v1/embeddings', (part) => ({ messages: [{ role: 'user', content: [part] }] })], ['/v1/pooling', (part) => ({ anything: { deep: [part] } })],
    ['/v1/responses', (part) => ({ input: [{ type: 'function_call_output', call_id: 'c', output: [part] }] })]]) {
    const ask = (url) => drover.post(path, { model: 'careful', ...body({ type: 'image_url', image_url: { url } }) });
    const before = fakes.careful.inferences.length, response = await ask(near[3]);
    assert.equal(response.status, 400, path);
    assert.match(await response.text(), /private or local host/, path);
    assert.equal(fakes.careful.inferences.length, before, path);
    assert.doesNotMatch(await (await ask(far[0])).text(), /private or local host/, path);
  }
});

test('what tools and schemas say of links is no link', async () => {
  const local = 'http://localhost:3000/';
  assert.equal((await drover.post('/v1/messages', { model: 'careful', max_tokens: 5, messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'url', url: far[0] } }] },
    { role: 'assistant', content: [{ type: 'tool_use', id: 't', name: 'fetch', input: { url: local } }] }, { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't', content: local }] }],
    tools: [{ name: 'fetch', input_schema: { type: 'object', properties: { url: { type: 'string', default: local } } } }] })).status, 200);
  assert.doesNotMatch(await (await drover.post('/v1/rerank', { model: 'careful', query: local, documents: [local, { text: local }] })).text(), /private or local host/);
});

test('public links, inline data and plain talk of links pass', async () => {
  for (const url of far) assert.equal((await ask('/v1/chat/completions', 'careful', shapes['/v1/chat/completions'][0](url))).status, 200, url);
  assert.equal((await ask('/v1/chat/completions', 'careful', 'what is http://127.0.0.1/ ?')).status, 200);
  assert.equal((await ask('/v1/chat/completions', 'careful', [{ type: 'text', text: 'what is http://127.0.0.1/ ?' }])).status, 200);
});

test('the operator may open or shut it', async () => {
  const shape = shapes['/v1/chat/completions'][0];
  assert.equal((await ask('/v1/chat/completions', 'open', shape(near[0]))).status, 200);
  assert.equal((await ask('/v1/chat/completions', 'shut', shape(far[0]))).status, 400);
  assert.equal((await ask('/v1/chat/completions', 'shut', shape('data:image/png;base64,iVBORw0KGgo='))).status, 200);
});
