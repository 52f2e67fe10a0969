//! An unpickler for state dicts only, which never calls anything.
//!
//! It knows the opcodes and the six kinds of objects that `torch.save(model.state_dict())` writes, and refuses every
//! other by name.
//!
//! Objects live in one table and refer to each other by index. Nesting, sharing or cycles in a hostile file can
//! therefore not overflow the stack or multiply the memory. No opcode copies or walks an object whose size the file
//! chooses, so time and memory grow no faster than the pickle's length.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A tensor of the state dict: a window into one storage.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PickledTensor {
    pub(super) name: Arc<str>,
    /// torch's class, for example `FloatStorage`.
    pub(super) storage: &'static str,
    /// Name of the storage's file inside the archive.
    pub(super) key: Arc<str>,
    /// First element in the storage.
    pub(super) offset: u64,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// Globals that a pickle may name.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    /// Index into [`STORAGES`].
    Storage(usize),
}

const STORAGES: [&str; 10] = [
    "FloatStorage",
    "HalfStorage",
    "BFloat16Storage",
    "DoubleStorage",
    "LongStorage",
    "IntStorage",
    "ShortStorage",
    "CharStorage",
    "ByteStorage",
    "BoolStorage",
];

/// A value; composite values are indices into the machine's tables.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    None,
    Bool,
    Int(i64),
    Str(usize),
    Tuple(usize),
    Dict(usize),
    Global(Global),
    /// A storage of class [`STORAGES`]`[0]` with the file name of string 1.
    Storage(usize, usize),
    Tensor(usize),
}

impl Value {
    fn kind(self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool => "a bool",
            Value::Int(_) => "an integer",
            Value::Str(_) => "a string",
            Value::Tuple(_) => "a tuple",
            Value::Dict(_) => "a dict",
            Value::Global(_) => "a class",
            Value::Storage(..) => "a storage",
            Value::Tensor(_) => "a tensor",
        }
    }
}

#[derive(Default)]
struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    strings: Vec<Arc<str>>,
    tuples: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    tensors: Vec<PickledTensor>,
}

type Step<T> = Result<T, String>;

/// Reads the tensors of a pickled state dict in its order; an error says what was refused.
pub(super) fn state_dict(pickle: &[u8]) -> Result<Vec<PickledTensor>, String> {
    let mut machine = Machine { rest: pickle, ..Machine::default() };
    let top = machine.run()?;
    let Value::Dict(dict) = top else {
        return Err(format!("its pickle holds {}, but a state dict was expected", top.kind()));
    };
    let mut tensors = Vec::new();
    // A recalled string is found by its number: comparing texts repeatedly would take too long for a hostile file.
    let (mut seen, mut names) = (HashSet::new(), HashSet::new());
    for (key, value) in std::mem::take(&mut machine.dicts[dict]) {
        let Value::Str(string) = key else {
            return Err(format!("a key of its state dict is {}, expected a tensor's name", key.kind()));
        };
        let name = &machine.strings[string];
        if !seen.insert(string) || !names.insert(name.clone()) {
            return Err(format!("{} is twice in its state dict", short(name)));
        }
        let Value::Tensor(tensor) = value else {
            return Err(format!("{} in its state dict is {}, expected a tensor", short(name), value.kind()));
        };
        tensors.push(PickledTensor { name: name.clone(), ..machine.tensors[tensor].clone() });
    }
    Ok(tensors)
}

impl Machine<'_> {
    fn run(&mut self) -> Step<Value> {
        loop {
            let [op] = self.bytes()?;
            match op {
                b'\x80' => {
                    let [version] = self.bytes()?;
                    if version > 2 {
                        return Err(format!("pickle protocol {version}, but torch.save writes 2"));
                    }
                }
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.stack.push(Value::Global(global(&module, &name)?));
                }
                b'N' => self.stack.push(Value::None),
                b'\x88' | b'\x89' => self.stack.push(Value::Bool),
                b'K' => {
                    let [v] = self.bytes()?;
                    self.stack.push(Value::Int(v.into()));
                }
                b'M' => {
                    let v = u16::from_le_bytes(self.bytes()?);
                    self.stack.push(Value::Int(v.into()));
                }
                b'J' => {
                    let v = i32::from_le_bytes(self.bytes()?);
                    self.stack.push(Value::Int(v.into()));
                }
                b'\x8a' => self.long()?,
                b'X' => {
                    let len = u32::from_le_bytes(self.bytes()?) as usize;
                    let text = std::str::from_utf8(self.take(len)?).map_err(|_| "a string is not UTF-8")?.into();
                    self.strings.push(text);
                    self.stack.push(Value::Str(self.strings.len() - 1));
                }
                b')' => self.tuple(Vec::new()),
                b'\x85'..=b'\x87' => {
                    let at = self.stack.len().checked_sub((op - b'\x84') as usize).ok_or("the stack is empty")?;
                    let items = self.stack.split_off(at);
                    self.tuple(items);
                }
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.tuple(items);
                }
                b'}' => self.dict(),
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set(&items)?;
                }
                b'q' => {
                    let [slot] = self.bytes()?;
                    self.remember(slot.into())?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.bytes()?);
                    self.remember(slot)?;
                }
                b'h' => {
                    let [slot] = self.bytes()?;
                    self.recall(slot.into())?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(self.bytes()?);
                    self.recall(slot)?;
                }
                b'Q' => self.storage()?,
                b'R' => self.reduce()?,
                // An OrderedDict's attributes (`_metadata`, version numbers): nothing here needs them.
                b'b' => match (self.pop()?, self.stack.last()) {
                    (Value::Dict(_), Some(Value::Dict(_))) => {}
                    _ => return Err("its pickle sets the state of an object that is not a dict: refused".into()),
                },
                other => {
                    return Err(format!("its pickle uses opcode {other:#04x}, which no state dict needs: refused"));
                }
            }
        }
    }

    fn take(&mut self, len: usize) -> Step<&[u8]> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or("its pickle is truncated")?;
        self.rest = rest;
        Ok(head)
    }

    fn bytes<const N: usize>(&mut self) -> Step<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk().ok_or("its pickle is truncated")?;
        self.rest = rest;
        Ok(*head)
    }

    fn line(&mut self) -> Step<String> {
        let end = self.rest.iter().position(|&b| b == b'\n').ok_or("its pickle is truncated")?;
        let line = String::from_utf8_lossy(&self.rest[..end]).into_owned();
        self.rest = &self.rest[end + 1..];
        Ok(line)
    }

    fn pop(&mut self) -> Step<Value> {
        // A value below the mark belongs to an outer object.
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("its pickle takes from an empty stack".into());
        }
        self.stack.pop().ok_or_else(|| "its pickle takes from an empty stack".into())
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Value>> {
        let mark = self.marks.pop().ok_or("its pickle misses a mark")?;
        if mark > self.stack.len() {
            return Err("its pickle misses a mark".into());
        }
        Ok(self.stack.split_off(mark))
    }

    fn tuple(&mut self, items: Vec<Value>) {
        self.tuples.push(items);
        self.stack.push(Value::Tuple(self.tuples.len() - 1));
    }

    fn dict(&mut self) {
        self.dicts.push(Vec::new());
        self.stack.push(Value::Dict(self.dicts.len() - 1));
    }

    /// Puts (key, value) pairs into the dict on top.
    fn set(&mut self, items: &[Value]) -> Step<()> {
        let Some(&Value::Dict(dict)) = self.stack.last() else {
            return Err("its pickle puts items into something that is not a dict".into());
        };
        let (pairs, odd) = items.as_chunks::<2>();
        if !odd.is_empty() {
            return Err("its pickle puts a key without a value".into());
        }
        self.dicts[dict].extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    fn remember(&mut self, slot: u32) -> Step<()> {
        let top = *self.stack.last().ok_or("its pickle takes from an empty stack")?;
        self.memo.insert(slot, top);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Step<()> {
        let value = *self.memo.get(&slot).ok_or("its pickle recalls what it never stored")?;
        self.stack.push(value);
        Ok(())
    }

    fn long(&mut self) -> Step<()> {
        let [len] = self.bytes()?;
        if len > 8 {
            return Err(format!("its pickle holds an integer of {len} bytes: refused"));
        }
        let bytes = self.take(len as usize)?;
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.stack.push(Value::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    /// Pops the tuple on top and returns its index.
    fn pop_tuple(&mut self) -> Step<usize> {
        match self.pop()? {
            Value::Tuple(index) => Ok(index),
            other => Err(format!("its pickle has {} where a tuple was expected", other.kind())),
        }
    }

    /// A persistent id: ("storage", class, file name, device, element count).
    fn storage(&mut self) -> Step<()> {
        let id = self.pop_tuple()?;
        match self.tuples[id].as_slice() {
            &[
                Value::Str(tag),
                Value::Global(Global::Storage(class)),
                Value::Str(key),
                Value::Str(_),
                Value::Int(_),
            ] if *self.strings[tag] == *"storage" => {
                self.stack.push(Value::Storage(class, key));
                Ok(())
            }
            _ => Err("its pickle refers to something outside that is not a torch storage: refused".into()),
        }
    }

    fn sizes(&self, value: Value) -> Step<Vec<usize>> {
        let Value::Tuple(index) = value else {
            return Err(format!("a tensor's shape is {}, expected a tuple", value.kind()));
        };
        if self.tuples[index].len() > 4 {
            return Err(format!("a tensor has {} sides or strides", self.tuples[index].len()));
        }
        let size = |v: &Value| match v {
            Value::Int(v) => usize::try_from(*v).map_err(|_| format!("a tensor has a side of {v}")),
            other => Err(format!("a tensor has {} for a side", other.kind())),
        };
        self.tuples[index].iter().map(size).collect()
    }

    /// Creates the objects of a state dict; nothing is called.
    fn reduce(&mut self) -> Step<()> {
        let arguments = self.pop_tuple()?;
        let made = self.pop()?;
        match (made, self.tuples[arguments].as_slice()) {
            (Value::Global(Global::OrderedDict), []) => self.dict(),
            (Value::Global(Global::RebuildParameter), &[tensor @ Value::Tensor(_), ..]) => self.stack.push(tensor),
            (
                Value::Global(Global::RebuildTensor),
                &[Value::Storage(class, key), Value::Int(offset), shape, strides, ..],
            ) => {
                let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
                if shape.len() != strides.len() {
                    return Err(format!("a tensor has {} sides and {} strides", shape.len(), strides.len()));
                }
                self.tensors.push(PickledTensor {
                    name: "".into(),
                    storage: STORAGES[class],
                    key: self.strings[key].clone(),
                    offset: u64::try_from(offset).map_err(|_| format!("a tensor starts at element {offset}"))?,
                    shape,
                    strides,
                });
                self.stack.push(Value::Tensor(self.tensors.len() - 1));
            }
            (made, _) => {
                return Err(format!("its pickle calls {} with arguments that no state dict has: refused", made.kind()));
            }
        }
        Ok(())
    }
}

fn global(module: &str, name: &str) -> Step<Global> {
    match (module, name) {
        ("collections", "OrderedDict") => Ok(Global::OrderedDict),
        ("torch._utils", "_rebuild_tensor_v2") => Ok(Global::RebuildTensor),
        ("torch._utils", "_rebuild_parameter") => Ok(Global::RebuildParameter),
        ("torch", class) if STORAGES.contains(&class) => {
            let index = STORAGES.iter().position(|s| *s == class);
            index.map(Global::Storage).ok_or_else(|| class.to_string())
        }
        _ => Err(format!(
            "its pickle asks for {}.{}, which no state dict needs: refused, nothing was run",
            short(module),
            short(name)
        )),
    }
}

/// Shortens a name for a message.
pub(super) fn short(name: &str) -> String {
    let start: String = name.chars().take(80).collect();
    if start.len() < name.len() { start + "…" } else { start }
}
