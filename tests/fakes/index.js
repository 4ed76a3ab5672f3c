// Fakes of the supported runtimes: each answers the probes that tell it from the others, lists its models with its own
// members, and serves the dialects it claims, quirks included.
//
//   const fake = await startFake('vllm', { models: ['qwen3'], reply: ['Hel', 'lo'], delayMs: 20 });
//   fake.url, fake.requests, fake.options (may be changed while it runs), await fake.close()
//
// Options: models (ids, or objects {id, loaded, context, size}), reply (the deltas), reasoning, calls ({id, name, args}), promptTokens, cached,
//   delayMs (between deltas), firstDelayMs, chunkSize (bytes per TCP write), burst (a stream in one write), noDone,
//   keepAliveComments (a number of SSE comments first), resetAfter / stallAfter / endAfter (deltas), errorAfter ({deltas,
//   text}), failWith (a status, or {status, body, headers}; on inference only), failTimes (how often; default: always),
//   contentLengthLie (added to Content-Length), idleMs (closes an idle connection), requireKey, http10, preface (raw bytes before each answer's head),
//   counted (what its tokenizer says; default: promptTokens), count (function (request, response): takes over its tokenizer's paths),
//   slots (llama.cpp's), loading (true while models load), answer (function (request, response): takes over inference), version.
import { FakeServer } from './server.js';
import { dialects } from './dialects.js';

const CREATED = 1790000000, STAMP = '2026-08-21T10:00:00Z';
const list = (data, extra) => ({ object: 'list', data, ...extra });
const text = (body, headers) => ({ text: body, headers });
const json = (body, status = 200, headers) => ({ json: body, status, headers });

const CHAT = ['chat', 'completions'];
const OPENAI = [...CHAT, 'responses', 'embeddings'];
const ALL = [...OPENAI, 'messages', 'countTokens'];

const ollamaDetails = (m) => ({ parent_model: '', format: 'gguf', family: 'qwen3', families: ['qwen3'], parameter_size: '8.2B',
  quantization_level: 'Q4_K_M', context_length: m.context });
const ollamaTags = (o) => ({ models: o.models.map((m) => ({ name: m.id, model: m.id, modified_at: STAMP, size: m.size,
  digest: 'a'.repeat(64), details: ollamaDetails(m), capabilities: ['completion', 'tools'] })) });
const ollamaPs = (o) => ({ models: o.models.filter((m) => m.loaded).map((m) => ({ name: m.id, model: m.id, size: m.size,
  digest: 'a'.repeat(64), details: ollamaDetails(m), expires_at: '2318-01-01T00:00:00Z', size_vram: m.size,
  context_length: m.context })) });
const ollamaShow = (o, request) => {
  const body = JSON.parse(request.body.toString() || '{}');
  const m = o.models.find((x) => x.id === (body.model ?? body.name));
  return m ? json({ details: ollamaDetails(m), model_info: { 'general.architecture': 'qwen3', 'qwen3.context_length': m.context },
    capabilities: ['completion', 'tools'], modified_at: STAMP }) : json({ error: `model '${body.model}' not found` }, 404);
};

const vllmModel = (owner) => (m) => ({ id: m.id, object: 'model', created: CREATED, owned_by: owner, root: m.id, parent: null,
  max_model_len: m.context, permission: [{ id: 'modelperm-1', object: 'model_permission', allow_sampling: true }] });
const prometheus = (lines) => () => text(lines.join('\n') + '\n', { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' });
const openaiError = (message, type, code) => ({ error: { message, type, param: null, code } });

const llamaProps = (o) => ({ default_generation_settings: { n_ctx: o.models[0].context }, total_slots: o.slots ?? 4, model_alias: o.models[0].id,
  model_path: `/models/${o.models[0].id}.gguf`, model_ftype: 'Q4_K - Medium', modalities: { vision: false, audio: false },
  endpoint_slots: true, endpoint_props: false, endpoint_metrics: true, is_sleeping: false, build_info: 'b9600-0123456' });
const llamaModels = (o) => list(o.models.slice(0, 1).map((m) => ({ id: m.id, aliases: [m.id], tags: [], object: 'model',
  created: CREATED, owned_by: 'llamacpp', meta: { vocab_type: 2, n_vocab: 151936, n_ctx: m.context, n_ctx_train: 40960,
    n_embd: 4096, n_params: 8190735360, size: m.size, ftype: 'Q4_K - Medium' } })),
  { models: o.models.slice(0, 1).map((m) => ({ name: m.id, model: m.id, type: 'model', capabilities: ['completion'] })) });
const llamaSlots = (o) => [0, 1, 2, 3].map((id) => ({ id, n_ctx: o.models[0].context, speculative: false, is_processing: false }));
const LLAMA_METRICS = prometheus(['llamacpp:prompt_tokens_total 10', 'llamacpp:requests_processing 0', 'llamacpp:requests_deferred 0']);

/**
 * A runtime: kind (what Drover must call it), dialects (keys of dialects.js), get / post (path -> answer of the options
 * and request), public (paths open without a key), locked (the answer without a key), missing (the answer for any other
 * path), defaults (options), say (changes to what is said), unknownModel.
 */
export const runtimes = {
  ollama: {
    kind: 'ollama', dialects: [...OPENAI, 'messages', 'ollama'], defaults: { models: ['qwen3:8b'], version: '0.33.0' },
    get: {
      '/': () => text('Ollama is running'), '/api/version': (o) => json({ version: o.version }),
      '/api/status': () => json({ cloud: { disabled: false, source: 'default' } }),
      '/api/tags': (o) => json(ollamaTags(o)), '/api/ps': (o) => json(ollamaPs(o)),
      '/v1/models': (o) => json(list(o.models.length ? o.models.map((m) => ({ id: m.id, object: 'model', created: CREATED, owned_by: 'library' })) : null)),
    },
    post: { '/api/show': ollamaShow },
    missing: () => json404('404 page not found'),
    unknownModel: (id) => json({ error: `model '${id}' not found` }, 404),
    say: { reasoningMember: 'reasoning' },
  },
  lmstudio: {
    kind: 'lmstudio', dialects: [...OPENAI, 'messages', 'lmstudio'], defaults: { models: ['qwen/qwen3-8b'] },
    headers: { 'X-Powered-By': 'Express' }, public: ['/lmstudio-greeting'],
    locked: () => json({ error: { type: 'invalid_request', code: 'invalid_api_key', message: 'An LM Studio API token is required' } }, 401),
    get: {
      '/lmstudio-greeting': () => json({ lmstudio: true }),
      '/v1/models': (o) => json(list(o.models.map((m) => ({ id: m.id, object: 'model', owned_by: 'organization_owner' })))),
      '/api/v0/models': (o) => json(list(o.models.map((m) => ({ id: m.id, object: 'model', type: 'llm', publisher: 'qwen', arch: 'qwen3',
        compatibility_type: 'gguf', quantization: 'Q4_K_M', state: m.loaded ? 'loaded' : 'not-loaded', max_context_length: 40960,
        ...(m.loaded ? { loaded_context_length: m.context } : {}), capabilities: ['tool_use'] })))),
      '/api/v1/models': (o) => json({ models: o.models.map((m) => ({ type: 'llm', publisher: 'qwen', key: m.id, display_name: m.id,
        architecture: 'qwen3', quantization: { name: 'Q4_K_M', bits_per_weight: 4 }, size_bytes: m.size, params_string: '8B',
        loaded_instances: m.loaded ? [{ id: m.id, config: { context_length: m.context, parallel: 4 } }] : [],
        max_context_length: 40960, format: 'gguf', capabilities: { vision: false, trained_for_tool_use: true } })) }),
    },
    missing: (o, r) => json({ error: `Unexpected endpoint or method. (${r.method} ${r.path})` }),
  },
  llamacpp: {
    kind: 'llamacpp', dialects: [...ALL], defaults: { models: ['qwen3-8b'], serverHeader: 'llama.cpp' }, public: ['/health', '/v1/health'],
    locked: () => json({ error: { message: 'Invalid API Key', type: 'authentication_error', code: 401 } }, 401),
    busy: () => json({ error: { message: 'Loading model', type: 'unavailable_error', code: 503 } }, 503),
    get: {
      '/health': () => json({ status: 'ok' }), '/v1/health': () => json({ status: 'ok' }),
      '/v1/models': (o) => json(llamaModels(o)), '/models': (o) => json(llamaModels(o)), '/props': (o) => json(llamaProps(o)),
      '/slots': (o) => json(llamaSlots(o)), '/metrics': LLAMA_METRICS,
    },
    missing: () => json({ error: { message: 'File Not Found', type: 'not_found_error', code: 404 } }, 404),
    anyModel: true, say: { roleContent: null },
  },
  'llamacpp-router': {
    kind: 'llamacpp', dialects: [...ALL], defaults: { models: [{ id: 'qwen3-8b' }, { id: 'gemma3', loaded: false }], serverHeader: 'llama.cpp' },
    public: ['/health'],
    get: {
      '/health': () => json({ status: 'ok' }),
      '/props': (o, r) => json(r.url.includes('model=') ? llamaProps(o) : { role: 'router', max_instances: 4, models_autoload: true, model_path: 'none',
        default_generation_settings: { n_ctx: 0 } }),
      '/v1/models': (o) => json(routerModels(o)), '/models': (o) => json(routerModels(o)), '/metrics': LLAMA_METRICS,
      '/slots': (o) => json(llamaSlots(o)),
    },
    post: { '/models/load': () => json({ success: true }), '/models/unload': () => json({ success: true }) },
    missing: () => json({ error: { message: 'File Not Found', type: 'not_found_error', code: 404 } }, 404),
    unknownModel: (id) => json({ error: { message: `model '${id}' not found`, type: 'invalid_request_error', code: 400 } }, 400),
    say: { roleContent: null },
  },
  vllm: {
    kind: 'vllm', dialects: [...ALL, 'tokenize'], defaults: { models: ['Qwen/Qwen3-8B'], serverHeader: 'uvicorn', version: '0.21.0' },
    public: ['/health', '/metrics', '/version'], locked: () => json({ error: 'Unauthorized' }, 401),
    get: {
      '/health': () => text(''), '/version': (o) => json({ version: o.version }),
      '/v1/models': (o) => json(list(o.models.map(vllmModel('vllm')))),
      '/metrics': prometheus(['vllm:num_requests_running{model_name="m",engine="0"} 0', 'vllm:num_requests_waiting{model_name="m",engine="0"} 0',
        'vllm:kv_cache_usage_perc{model_name="m",engine="0"} 0.1']),
    },
    unknownModel: (id) => json({ error: { message: `The model \`${id}\` does not exist.`, type: 'NotFoundError', param: 'model', code: 404 } }, 404),
    say: { reasoningMember: 'reasoning' },
  },
  sglang: {
    kind: 'sglang', dialects: [...ALL, 'ollama', 'tokenize'], defaults: { models: ['Qwen/Qwen3-8B'], serverHeader: 'uvicorn', version: '0.6.0' }, public: ['/health', '/ping'],
    busy: (o, r) => (r.path === '/health' ? json({}, 503) : null),
    get: {
      '/health': () => text(''), '/ping': () => text(''),
      '/model_info': (o) => json(sglangInfo(o)), '/get_model_info': (o) => json(sglangInfo(o)),
      '/server_info': (o) => json({ version: o.version, context_length: o.models[0].context, quantization: null, dtype: 'auto', max_running_requests: 64 }),
      '/v1/models': (o) => json(list(o.models.map(vllmModel('sglang')))),
    },
    unknownModel: (id) => json({ object: 'error', message: `model ${id} not found`, type: 'NotFoundError', param: null, code: 404 }, 404),
  },
  mistralrs: {
    kind: 'mistralrs', dialects: [...ALL], defaults: { models: ['mistral-small'], keepAliveComments: 1 },
    get: {
      '/': () => text('OK'), '/health': () => text('OK'),
      '/v1/models': (o) => json(list([{ id: 'default', object: 'model', created: CREATED, owned_by: 'local' },
        ...o.models.map((m) => ({ id: m.id, object: 'model', created: CREATED, owned_by: 'local', status: m.loaded ? 'loaded' : 'unloaded' }))])),
      '/metrics': prometheus(['mistralrs_sequences_running 0']),
    },
    anyModel: true, say: { usageOnFinish: true },
  },
  tgi: {
    kind: 'tgi', dialects: CHAT, defaults: { models: ['HuggingFaceH4/zephyr-7b-beta'], version: '3.3.7' }, public: ['/health'],
    get: {
      '/health': () => text(''),
      '/info': (o) => json({ model_id: o.models[0].id, model_sha: '0'.repeat(40), max_concurrent_requests: 128, max_input_tokens: o.models[0].context - 1,
        max_total_tokens: o.models[0].context, router: 'text-generation-router', version: o.version }),
      '/v1/models': (o) => json(list(o.models.slice(0, 1).map((m) => ({ id: m.id, object: 'model', created: 0, owned_by: m.id })))),
      '/metrics': prometheus(['tgi_queue_size 0']),
    },
    anyModel: true,
  },
  localai: {
    kind: 'localai', dialects: [...ALL, 'ollama', 'rerank'], defaults: { models: ['gpt-oss-20b'], version: '4.9.0' },
    public: ['/healthz', '/readyz', '/.well-known/localai.json'],
    locked: () => json({ error: { code: 401, message: 'An authentication key is required', type: 'invalid_request_error' } }, 401),
    get: {
      '/.well-known/localai.json': (o) => json({ version: o.version, endpoints: { chat: '/v1/chat/completions' }, monitoring: { health: '/healthz' } }),
      '/healthz': () => text(''), '/readyz': (o) => (o.loading ? json({ status: 'starting', reason: 'loading backends' }, 503) : text('')),
      '/v1/models': (o) => json(list(o.models.map((m) => ({ id: m.id, object: 'model' })))),
      '/system': (o) => json({ backends: ['llama-cpp'], loaded_models: o.models.filter((m) => m.loaded).map((m) => ({ id: m.id, backend: 'llama-cpp' })) }),
      '/api/version': () => json({ version: '0.9.0' }), '/api/tags': (o) => json(ollamaTags(o)), '/api/ps': (o) => json(ollamaPs(o)),
    },
    post: { '/api/show': ollamaShow },
  },
  koboldcpp: {
    kind: 'koboldcpp', dialects: [...CHAT, 'embeddings', 'messages', 'ollama', 'tokencount'],
    defaults: { models: ['koboldcpp/Qwen3-8B-Q4_K_M'], http10: true, serverHeader: 'KoboldCppServer/1.115', version: '1.115.1' },
    get: {
      '/api/extra/version': (o) => json({ result: 'KoboldCpp', version: o.version, protected: Boolean(o.requireKey), llm: true }),
      '/.well-known/serviceinfo': () => json({ version: '0.2', software: { name: 'KoboldCpp', version: '1.115.1' } }),
      '/v1/models': (o) => json(list(o.models.slice(0, 1).map((m) => ({ id: m.id, object: 'model', created: 1, owned_by: 'koboldcpp', permission: [], root: 'koboldcpp' })))),
      '/api/v1/model': (o) => json({ result: o.models[0].id }), '/api/extra/true_max_context_length': (o) => json({ value: o.models[0].context }),
      '/api/extra/perf': () => json({ idle: 1, queue: 0, uptime: 100 }), '/api/version': () => json({ version: '0.7.0' }),
      '/api/tags': (o) => json(ollamaTags(o)), '/api/ps': (o) => json(ollamaPs(o)), '/props': (o) => json(llamaProps(o)), '/slots': (o) => json(llamaSlots(o)),
      '/api/admin/health': () => text('true'),
    },
    public: ['/api/extra/version', '/.well-known/serviceinfo'], anyModel: true,
  },
  tabbyapi: {
    kind: 'tabbyapi', dialects: [...CHAT, 'embeddings'], defaults: { models: ['Qwen3-8B-exl3'], serverHeader: 'uvicorn' },
    public: ['/health', '/.well-known/serviceinfo'], locked: () => json({ detail: 'Invalid API key' }, 401),
    get: {
      '/health': () => json({ status: 'healthy', issues: [] }), '/.well-known/serviceinfo': () => json({ version: 0.1, software: { name: 'TabbyAPI' } }),
      '/v1/models': (o) => json(list(o.models.map((m) => ({ id: m.id, object: 'model', created: CREATED, owned_by: 'tabbyAPI' })))),
      '/v1/model': (o) => json({ id: o.models[0].id, object: 'model', created: CREATED, owned_by: 'tabbyAPI', parameters: { max_seq_len: o.models[0].context, cache_size: o.models[0].context } }),
    },
    anyModel: true,
  },
  jan: {
    kind: 'jan', dialects: [...ALL], defaults: { models: ['Jan-v1-4B'] },
    locked: () => json404('Missing authorization header', 401),
    get: {
      '/': () => text('<!DOCTYPE html><html><head><title>Jan API</title></head></html>', { 'Content-Type': 'text/html' }),
      '/v1/models': (o) => json(list(o.models.map((m) => ({ id: m.id, object: 'model', created: 1, owned_by: 'user' })))),
    },
    unknownModel: (id) => json404(`No running session found for model '${id}'`),
  },
  lemonade: {
    kind: 'lemonade', dialects: [...OPENAI, 'messages', 'ollama', 'rerank'], defaults: { models: ['Qwen3-8B-GGUF'], version: '11.7.0' }, public: ['/live'],
    get: {
      '/live': () => json({ status: 'ok' }), '/api/v1/health': (o) => json(lemonadeHealth(o)), '/v1/health': (o) => json(lemonadeHealth(o)),
      '/v1/models': (o) => json(lemonadeModels(o)), '/api/v1/models': (o) => json(lemonadeModels(o)), '/api/v0/models': (o) => json(lemonadeModels(o)),
      '/metrics': prometheus(['lemonade_requests_total 0']), '/api/tags': (o) => json(ollamaTags(o)),
    },
  },
  mlx: {
    kind: 'mlx', dialects: CHAT, defaults: { models: ['mlx-community/Qwen3-8B-4bit'], http10: true, serverHeader: 'BaseHTTP/0.6 Python/3.12.4', keepAliveComments: 2 },
    get: { '/health': () => json({ status: 'ok' }), '/v1/models': (o) => json(list(o.models.map((m) => ({ id: m.id, object: 'model', created: CREATED })))) },
    missing: () => json404('Not Found'), unknownModel: (id) => json({ error: `${id} is not a local model` }, 404), say: { reasoningMember: 'reasoning' },
  },
  'docker-model-runner': {
    kind: 'dmr', dialects: [...ALL, 'ollama', 'rerank'], defaults: { models: ['ai/qwen3:latest'] },
    get: {
      '/': () => text('Docker Model Runner is running'), '/engines/status': () => json({ 'llama.cpp': 'running' }),
      '/models': (o) => json(o.models.map((m) => ({ id: `sha256:${'b'.repeat(64)}`, tags: [m.id], created: CREATED, config: { format: 'gguf', quantization: 'Q4_K_M',
        parameters: '8.19 B', architecture: 'qwen3', size: '4.68 GiB', context_size: m.context } }))),
      '/v1/models': (o) => json(dockerModels(o)), '/engines/v1/models': (o) => json(dockerModels(o)),
      '/engines/ps': (o) => json(o.models.filter((m) => m.loaded).map((m) => ({ backend_name: 'llama.cpp', model_name: m.id, mode: 'completion', last_used: STAMP, in_use: false, loading: false, keep_alive: '5m' }))),
      '/api/version': () => json({ version: '0.1.0' }), '/api/tags': (o) => json(ollamaTags(o)),
    },
    missing: () => json404('not found'),
  },
  tei: {
    kind: 'tei', dialects: ['embeddings', 'rerank'], defaults: { models: ['BAAI/bge-m3'], version: '1.9.3' }, public: ['/health'],
    get: {
      '/health': () => text(''), '/info': (o) => json({ model_id: o.models[0].id, model_sha: null, model_dtype: 'float16', model_type: { embedding: { pooling: 'cls' } },
        max_concurrent_requests: 512, max_input_length: o.models[0].context, max_batch_tokens: 16384, max_client_batch_size: 32, version: o.version }),
      '/metrics': prometheus(['te_queue_size 0']),
    },
    anyModel: true,
  },
  infinity: {
    kind: 'infinity', dialects: ['embeddings', 'rerank'], prefix: '/v1', defaults: { models: ['BAAI/bge-small-en-v1.5'], serverHeader: 'uvicorn' },
    get: {
      '/health': () => json({ unix: 1790000000.5 }),
      '/models': (o) => json(list(o.models.map((m) => ({ id: m.id, object: 'model', created: CREATED, owned_by: 'infinity', backend: 'torch',
        capabilities: ['embed'], stats: { queue_fraction: 0, queue_absolute: 0, results_pending: 0, batch_size: 32 } })))),
    },
    missing: () => json({ detail: 'Not Found' }, 404),
  },
  trtllm: {
    kind: 'trtllm', dialects: [...CHAT, 'responses', 'messages'], defaults: { models: ['Qwen3-8B'], serverHeader: 'uvicorn', version: '1.2.0' },
    get: {
      '/health': () => text(''), '/version': (o) => json({ version: o.version }), '/metrics': () => json([]),
      '/v1/models': (o) => json(list(o.models.map((m) => ({ id: m.id, object: 'model', created: CREATED, owned_by: 'tensorrt_llm' })))),
    },
    anyModel: true,
  },
  triton: {
    kind: 'triton', dialects: [...CHAT, 'embeddings'], defaults: { models: ['llama-3.1-8b-instruct'], serverHeader: 'uvicorn' },
    get: {
      '/health/ready': () => text(''), '/metrics': prometheus(['nv_inference_request_success{model="m",version="1"} 0']),
      '/v1/models': (o) => json(list(o.models.map((m) => ({ id: m.id, object: 'model', created: CREATED, owned_by: 'Triton Inference Server' })))),
    },
    missing: () => json({ detail: 'Not Found' }, 404),
  },
  openai: {
    kind: 'openai', dialects: [...CHAT, 'embeddings'], defaults: { models: ['some-model'] },
    get: { '/v1/models': (o) => json(list(o.models.map((m) => ({ id: m.id, object: 'model', created: CREATED, owned_by: 'someone' })))) },
    unknownModel: (id) => json(openaiError(`The model '${id}' does not exist`, 'invalid_request_error', 'model_not_found'), 404),
  },
};

function json404(body, status = 404) { return { text: body, status }; }
function routerModels(o) {
  return list(o.models.map((m) => ({ id: m.id, aliases: [], tags: [], object: 'model', owned_by: 'llamacpp', created: CREATED, source: 'cache', can_remove: true,
    status: { value: m.loaded ? 'loaded' : 'unloaded', args: [] }, architecture: { input_modalities: ['text'], output_modalities: ['text'] },
    ...(m.loaded ? { meta: { n_ctx: m.context, n_ctx_train: 40960, n_params: 8190735360, size: m.size, ftype: 'Q4_K - Medium' } } : {}) })));
}
function sglangInfo(o) {
  return { model_path: o.models[0].id, tokenizer_path: o.models[0].id, is_generation: true, architectures: ['Qwen3ForCausalLM'], has_image_understanding: false };
}
function lemonadeHealth(o) {
  return { status: 'ok', version: o.version, model_loaded: o.models[0].id, max_models: { llm: 1 }, websocket_port: 9000,
    all_models_loaded: o.models.filter((m) => m.loaded).map((m) => ({ model_name: m.id, type: 'llm', device: 'gpu', pinned: false, recipe: 'llamacpp',
      recipe_options: { ctx_size: m.context }, is_busy: false })) };
}
function lemonadeModels(o) {
  return list(o.models.map((m) => ({ id: m.id, object: 'model', created: CREATED, owned_by: 'lemonade', checkpoint: m.id, recipe: 'llamacpp', size: m.size / 2 ** 30,
    context_length: m.context, downloaded: true, labels: ['tool-calling'] })));
}
function dockerModels(o) {
  return list(o.models.map((m) => ({ id: m.id, object: 'model', created: CREATED, owned_by: 'docker', dmr: { context_window: m.context, architecture: 'qwen3',
    parameters: '8.19 B', quantization: 'Q4_K_M', size: '4.68 GiB' } })));
}

/** Every name that startFake knows. */
export const runtimeNames = Object.keys(runtimes);

function fillModels(models) {
  return models.map((m) => ({ loaded: true, context: 8192, size: 5 * 2 ** 30, ...(typeof m === 'string' ? { id: m } : m) }));
}

const keyOf = (headers) => headers.authorization?.replace(/^Bearer /i, '') ?? headers['x-api-key'];

/** `POST path` -> printer, for the dialects a runtime speaks. */
function inferencePaths(runtime) {
  const paths = {};
  for (const name of runtime.dialects)
    for (const [path, print] of Object.entries(dialects[name])) {
      paths[path] = print;
      // infinity has no /v1 unless a prefix is set
      if (runtime.kind === 'infinity') paths[path.replace('/v1', '')] = print;
    }
  return paths;
}

const COUNTS = /\/count_tokens$|\/tokenize$|\/tokencount$/;

async function infer(runtime, print, request, response) {
  const o = response.options;
  if (o.count && COUNTS.test(request.path)) return o.count(request, response);
  if (o.answer) return o.answer(request, response);
  if (o.failWith && (o.failTimes ?? Infinity) > 0) {
    if (o.failTimes) o.failTimes--;
    const fail = typeof o.failWith === 'number' ? { status: o.failWith } : o.failWith;
    return response.json(fail.status, fail.body ?? openaiError('made to fail', 'api_error', null), fail.headers);
  }
  let body;
  try {
    body = JSON.parse(request.body.toString());
  } catch (error) {
    return response.json(400, openaiError(`invalid JSON: ${error.message}`, 'invalid_request_error', null));
  }
  if (!runtime.anyModel && !o.models.some((m) => m.id === body.model || m.id === `${body.model}:latest`)) {
    const a = (runtime.unknownModel ?? ((id) => json(openaiError(`model '${id}' not found`, 'not_found_error', null), 404)))(body.model);
    return a.json === undefined ? response.text(a.status, a.text) : response.json(a.status, a.json);
  }
  const answer = print({ model: body.model, deltas: o.reply, reasoning: o.reasoning, calls: o.calls, promptTokens: o.promptTokens, counted: o.counted, cached: o.cached, ...runtime.say }, body);
  if (!answer.frames) {
    if (o.firstDelayMs) await new Promise((go) => setTimeout(go, o.firstDelayMs));
    return response.json(200, answer.whole, runtime.headers);
  }
  return response.stream(answer.type, answer.frames, { 'Cache-Control': 'no-cache', ...runtime.headers });
}

/** Starts the fake `name` on a free loopback port (or options.port). */
export async function startFake(name, options = {}) {
  const runtime = runtimes[name];
  if (!runtime) throw new Error(`no such fake: ${name}`);
  const paths = inferencePaths(runtime);
  const o = { reply: ['Hel', 'lo', ', ', 'world', '.'], promptTokens: 21, cached: 16, ...runtime.defaults, ...options };
  o.models = fillModels(o.models);
  const answer = (response, a) => {
    if (a.json !== undefined) return response.json(a.status ?? 200, a.json, { ...runtime.headers, ...a.headers });
    return response.text(a.status ?? 200, a.text, { ...runtime.headers, ...a.headers });
  };
  const server = new FakeServer(async (request, response) => {
    const current = response.options;
    if (current.loading && runtime.busy) {
      const a = runtime.busy(current, request);
      if (a) return answer(response, a);
    }
    if (current.requireKey && !runtime.public?.includes(request.path) && keyOf(request.headers) !== current.requireKey)
      return answer(response, runtime.locked?.(current, request) ?? json(openaiError('invalid API key', 'authentication_error', 'invalid_api_key'), 401));
    if (request.method === 'POST' && paths[request.path]) return infer(runtime, paths[request.path], request, response);
    const table = request.method === 'POST' ? runtime.post : /GET|HEAD/.test(request.method) ? runtime.get : {};
    const route = table?.[request.path];
    if (route) return answer(response, route(current, request));
    return answer(response, runtime.missing?.(current, request) ?? json({ detail: 'Not Found' }, 404));
  }, o);
  server.name = name;
  server.kind = runtime.kind;
  await server.listen(options.port ?? 0, options.host);
  /** The inference requests it got, without probes. */
  Object.defineProperty(server, 'inferences', { get() { return this.requests.filter((r) => r.method === 'POST' && paths[r.path]); } });
  /** Those that only ask how long a prompt is, and those that ask for an answer. */
  Object.defineProperty(server, 'counts', { get() { return server.inferences.filter((r) => COUNTS.test(r.path)); } });
  Object.defineProperty(server, 'answered', { get() { return server.inferences.filter((r) => !COUNTS.test(r.path)); } });
  return server;
}

/** Runs one fake by hand: node tests/fakes/index.js NAME [PORT] */
if (process.argv[1]?.endsWith('fakes/index.js')) {
  const fake = await startFake(process.argv[2] ?? 'openai', { port: Number(process.argv[3] ?? 0) });
  console.log(`${fake.name} at ${fake.url}`);
}
