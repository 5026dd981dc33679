/* A compiled model in JavaScript, for browsers and Node.
 *
 *     const model = await Model.load(fetch("libdigits.wasm"));
 *     const {logits} = model.run({image: new Float32Array(64)});
 *
 * The library imports nothing and has one thread; a model in a worker of its own does not block the page. */

const ALIGNMENT = 64; /* ES_ALIGNMENT */
const ABI_VERSION = 1;

/* Numbers of element types (es_abi.h) -> arrays. Booleans are bytes; 16-bit floats are their bits. */
const ARRAYS = {
  1: Float32Array, 2: Uint8Array, 3: Int8Array, 4: Uint16Array, 5: Int16Array, 6: Int32Array, 7: BigInt64Array,
  9: Uint8Array, 10: Uint16Array, 11: Float64Array, 12: Uint32Array, 13: BigUint64Array, 16: Uint16Array,
};

export class Model {
  /* `source`: a Response or the promise of one (as fetch gives it), or the bytes of the library. */
  static async load(source) {
    source = await source;
    if (source.ok === false) throw new Error(`${source.url}: ${source.status} ${source.statusText}`);
    const bytes = source.arrayBuffer ? await source.arrayBuffer() : source;
    return new Model((await WebAssembly.instantiate(bytes)).instance.exports);
  }

  constructor(exports) {
    this.exports = exports;
    const found = Object.keys(exports).find((name) => name.endsWith("_abi_version"));
    if (!found) throw new Error("this module is not a compiled model");
    this.name = found.slice(0, -"_abi_version".length);
    exports._initialize();
    const version = this.call("abi_version");
    if (version !== ABI_VERSION) throw new Error(`the model has ABI version ${version}, this file knows ${ABI_VERSION}`);
    this.inputs = this.tensors("input");
    this.outputs = this.tensors("output");
    const size = this.call("context_bytes", 1) >>> 0;
    this.context = this.call("init", this.allocate(size), size, 1, 0, 0);
    if (!this.context) throw new Error("the model refused its memory");
    this.call("prepare", this.context);
    for (const tensor of [...this.inputs, ...this.outputs]) tensor.address = this.allocate(tensor.bytes);
    this.pointers = [this.inputs, this.outputs].map((tensors) => {
      const address = this.allocate(4 * tensors.length);
      new Uint32Array(exports.memory.buffer, address, tensors.length).set(tensors.map((tensor) => tensor.address));
      return address;
    });
  }

  /* One inference. `values`: a typed array (or array of numbers) for each input, by name. Returns copies of the outputs. */
  run(values) {
    const known = this.inputs.map((tensor) => tensor.name);
    const unknown = Object.keys(values).find((name) => !known.includes(name));
    if (unknown !== undefined) throw new Error(`the model has no input ${unknown}; it has ${known.join(", ")}`);
    for (const tensor of this.inputs) {
      const value = values[tensor.name];
      const array = this.array(tensor);
      if (!value) throw new Error(`input ${tensor.name} is missing`);
      if (value.length !== array.length) {
        throw new Error(`input ${tensor.name} has ${value.length} elements, the model takes ${array.length}`);
      }
      array.set(value);
    }
    const status = this.call("run", this.context, ...this.pointers);
    if (status) throw new Error(`the model returned status ${status}`);
    return Object.fromEntries(this.outputs.map((tensor) => [tensor.name, this.array(tensor).slice()]));
  }

  call(name, ...values) {
    return this.exports[`${this.name}_${name}`](...values);
  }

  allocate(bytes) {
    const address = this.exports.aligned_alloc(ALIGNMENT, Math.max(Math.ceil(bytes / ALIGNMENT), 1) * ALIGNMENT) >>> 0;
    if (!address) throw new Error(`no memory for ${bytes} bytes`);
    return address;
  }

  /* Where a tensor lies; to be made anew whenever memory may have grown. */
  array(tensor) {
    const type = ARRAYS[tensor.dtype];
    return new type(this.exports.memory.buffer, tensor.address, tensor.bytes / type.BYTES_PER_ELEMENT);
  }

  /* The rows of es_tensor_info: name, dtype, rank, shape, bytes. */
  tensors(kind) {
    return Array.from({length: this.call(`${kind}_count`)}, (_, i) => {
      const {buffer} = this.exports.memory;
      const [name, dtype, rank, shape, bytes] = new Uint32Array(buffer, this.call(kind, i) >>> 0, 5);
      const text = new Uint8Array(buffer, name);
      return {
        name: new TextDecoder().decode(text.slice(0, text.indexOf(0))),
        dtype,
        shape: Array.from(new BigInt64Array(buffer, shape, rank), Number),
        bytes,
      };
    });
  }
}
