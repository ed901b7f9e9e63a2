//! A reader of the pickles that `torch.save` writes for a state dict. It executes nothing.
//!
//! A pickle is a program for a stack machine (<https://docs.python.org/3/library/pickletools.html>). This machine knows
//! only the opcodes that build numbers, strings, tuples, lists and dicts, and [`Global`] lists the only names that a
//! program may mention; what they would do in Python is done here by hand. Values live in one list and refer to each
//! other by index, so nothing recurses. Each opcode makes at most one value, and copies no more than its own bytes and
//! what it takes off the stack: what a pickle costs is in proportion to its length.

use std::collections::HashMap;
use std::rc::Rc;

use tch::Kind;

use super::weights::MAX_DIMENSIONS;
use crate::printable::printable;

/// How many values a pickle may make: a state dict of 10,000 tensors makes about 200,000.
const MAX_VALUES: usize = 1_000_000;

/// Why a pickle was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PickleError {
    /// It mentions a name that is not in [`Global`].
    Forbidden(String),
    /// It is broken, or of a sort that we do not read.
    Bad { at: usize, expected: String, found: String },
}

/// A tensor as a state dict describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PickledTensor<'a> {
    pub(super) storage: Rc<PickledStorage<'a>>,
    pub(super) kind: Kind,
    /// Of the first element in the storage, in elements.
    pub(super) offset: i64,
    pub(super) shape: Vec<i64>,
    /// In elements.
    pub(super) strides: Vec<i64>,
}

/// A reference to elements that lie beside the pickle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PickledStorage<'a> {
    pub(super) key: &'a str,
    /// `None` for a storage of plain bytes.
    kind: Option<Kind>,
    /// As the pickle claims.
    pub(super) bytes: u64,
}

/// Reads a pickled state dict: the names and tensors of a dict.
pub(super) fn read_state_dict(bytes: &[u8]) -> Result<Vec<(&str, Rc<PickledTensor<'_>>)>, PickleError> {
    Machine {
        bytes,
        at: 0,
        op_at: 0,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    }
    .run()
}

/// The names that a state dict mentions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Global {
    OrderedDict,
    RebuildTensorV2,
    RebuildTensorV3,
    RebuildParameter,
    Size,
    Storage(Option<Kind>),
    Dtype(Kind),
}

impl Global {
    fn of(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensorV2,
            ("torch._utils", "_rebuild_tensor_v3") => Self::RebuildTensorV3,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "Size") => Self::Size,
            ("torch", "HalfStorage") => Self::Storage(Some(Kind::Half)),
            ("torch", "BFloat16Storage") => Self::Storage(Some(Kind::BFloat16)),
            ("torch", "FloatStorage") => Self::Storage(Some(Kind::Float)),
            ("torch", "DoubleStorage") => Self::Storage(Some(Kind::Double)),
            ("torch", "BoolStorage") => Self::Storage(Some(Kind::Bool)),
            ("torch", "ByteStorage") => Self::Storage(Some(Kind::Uint8)),
            ("torch", "CharStorage") => Self::Storage(Some(Kind::Int8)),
            ("torch", "ShortStorage") => Self::Storage(Some(Kind::Int16)),
            ("torch", "IntStorage") => Self::Storage(Some(Kind::Int)),
            ("torch", "LongStorage") => Self::Storage(Some(Kind::Int64)),
            ("torch" | "torch.storage", "UntypedStorage") => Self::Storage(None),
            ("torch", "float16" | "half") => Self::Dtype(Kind::Half),
            ("torch", "bfloat16") => Self::Dtype(Kind::BFloat16),
            ("torch", "float32" | "float") => Self::Dtype(Kind::Float),
            ("torch", "float64" | "double") => Self::Dtype(Kind::Double),
            ("torch", "bool") => Self::Dtype(Kind::Bool),
            ("torch", "uint8") => Self::Dtype(Kind::Uint8),
            ("torch", "int8") => Self::Dtype(Kind::Int8),
            ("torch", "int16") => Self::Dtype(Kind::Int16),
            ("torch", "int32") => Self::Dtype(Kind::Int),
            ("torch", "int64") => Self::Dtype(Kind::Int64),
            _ => return None,
        })
    }
}

/// An index into the machine's values.
type Id = usize;

#[derive(Debug, Clone)]
enum Value<'a> {
    None,
    Bool,
    Float,
    Int(i64),
    Str(&'a str),
    Tuple(Rc<[Id]>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Rc<PickledStorage<'a>>),
    Tensor(Rc<PickledTensor<'a>>),
}

impl Value<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool => "a bool",
            Self::Float => "a float",
            Self::Int(_) => "an integer",
            Self::Str(_) => "a string",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Global(_) => "a class or function",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    /// Where the next byte is read.
    at: usize,
    /// Where the opcode at work stands, for messages.
    op_at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

type Step<T = ()> = Result<T, PickleError>;

impl<'a> Machine<'a> {
    fn run(mut self) -> Step<Vec<(&'a str, Rc<PickledTensor<'a>>)>> {
        loop {
            self.op_at = self.at;
            let opcode = self.byte()?;
            if opcode == b'.' {
                break;
            }
            self.step(opcode)?;
        }
        let top = self.pop()?;
        self.state_dict(top)
    }

    fn step(&mut self, opcode: u8) -> Step {
        match opcode {
            // PROTO, FRAME
            0x80 => self.take(1).map(drop),
            0x95 => self.take(8).map(drop),
            // MARK
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            // NONE, NEWTRUE, NEWFALSE, BINFLOAT
            b'N' => self.push(Value::None),
            0x88 | 0x89 => self.push(Value::Bool),
            b'G' => self.take(8).map(drop).and_then(|()| self.push(Value::Float)),
            // BININT, BININT1, BININT2, LONG1
            b'J' => {
                let n = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(n.into()))
            }
            b'K' => {
                let n = self.byte()?;
                self.push(Value::Int(n.into()))
            }
            b'M' => {
                let n = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(n.into()))
            }
            0x8a => self.long(),
            // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8, BINSTRING, SHORT_BINSTRING
            b'X' | b'T' => {
                let length = u32::from_le_bytes(self.array()?);
                self.string(length.into())
            }
            0x8c | b'U' => {
                let length = self.byte()?;
                self.string(length.into())
            }
            0x8d => {
                let length = u64::from_le_bytes(self.array()?);
                self.string(length)
            }
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
            b')' => self.push(Value::Tuple(Rc::new([]))),
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode) - 0x84)?;
                self.push(Value::Tuple(items.into()))
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items.into()))
            }
            // EMPTY_LIST, APPEND, APPENDS
            b']' => self.push(Value::List(Vec::new())),
            b'a' => self.pop_many(1).and_then(|items| self.append(&items)),
            b'e' => self.pop_to_mark().and_then(|items| self.append(&items)),
            // EMPTY_DICT, SETITEM, SETITEMS
            b'}' => self.push(Value::Dict(Vec::new())),
            b's' => self.pop_many(2).and_then(|items| self.set_items(&items)),
            b'u' => self.pop_to_mark().and_then(|items| self.set_items(&items)),
            // BINPUT, LONG_BINPUT, MEMOIZE
            b'q' => self.byte().and_then(|key| self.remember(key.into())),
            b'r' => self.array().and_then(|key| self.remember(u32::from_le_bytes(key).into())),
            0x94 => self.remember(self.memo.len() as u64),
            // BINGET, LONG_BINGET
            b'h' => self.byte().and_then(|key| self.recall(key.into())),
            b'j' => self.array().and_then(|key| self.recall(u32::from_le_bytes(key).into())),
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)
            }
            0x93 => {
                let names = self.pop_many(2)?;
                let (module, name) = (self.str(names[0])?, self.str(names[1])?);
                self.global(module, name)
            }
            // BINPERSID, REDUCE, BUILD
            b'Q' => self.persistent(),
            b'R' => self.reduce(),
            b'b' => self.build(),
            other => Err(self.bad("an opcode that a state dict needs", format!("opcode {other:#04x}"))),
        }
    }

    // ---- bytes

    fn take(&mut self, length: usize) -> Step<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..length) else {
            return Err(self.bad(format!("{length} more bytes"), format!("{} to the end", rest.len())));
        };
        self.at += length;
        Ok(taken)
    }

    fn byte(&mut self) -> Step<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Text up to a line feed.
    fn line(&mut self) -> Step<&'a str> {
        let rest = &self.bytes[self.at..];
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
            return Err(self.bad("a name that ends in a line feed", "the end of the pickle"));
        };
        let line = self.take(length + 1)?;
        self.utf8(&line[..length])
    }

    fn string(&mut self, length: u64) -> Step {
        let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        let string = self.utf8(bytes)?;
        self.push(Value::Str(string))
    }

    fn utf8(&self, bytes: &'a [u8]) -> Step<&'a str> {
        std::str::from_utf8(bytes).map_err(|error| self.bad("a string in UTF-8", error.to_string()))
    }

    /// A little-endian integer in two's complement, its length in bytes before it.
    fn long(&mut self) -> Step {
        let length = usize::from(self.byte()?);
        if length > 8 {
            return Err(self.bad("an integer of at most 8 bytes", format!("{length} bytes")));
        }
        let digits = self.take(length)?;
        let negative = digits.last().is_some_and(|&byte| byte >= 0x80);
        let mut extended = [if negative { 0xff } else { 0 }; 8];
        extended[..length].copy_from_slice(digits);
        self.push(Value::Int(i64::from_le_bytes(extended)))
    }

    // ---- stack

    fn push(&mut self, value: Value<'a>) -> Step {
        if self.values.len() >= MAX_VALUES {
            return Err(self.bad(format!("at most {MAX_VALUES} values"), "more"));
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    /// The lowest height to which the stack may be popped.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Step<Id> {
        self.pop_many(1).map(|ids| ids[0])
    }

    fn pop_many(&mut self, count: usize) -> Step<Vec<Id>> {
        let height = self.stack.len();
        match height.checked_sub(count).filter(|&height| height >= self.floor()) {
            Some(height) => Ok(self.stack.split_off(height)),
            None => {
                Err(self.bad(format!("{count} values on the stack"), format!("{}", height - self.floor())))
            }
        }
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.bad("a mark on the stack", "none")),
        }
    }

    fn top(&self) -> Step<Id> {
        match self.stack[self.floor()..].last() {
            Some(&id) => Ok(id),
            None => Err(self.bad("a value on the stack", "none")),
        }
    }

    fn remember(&mut self, key: u64) -> Step {
        let id = self.top()?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Step {
        match self.memo.get(&key) {
            Some(&id) if self.stack.len() < MAX_VALUES => {
                self.stack.push(id);
                Ok(())
            }
            Some(_) => Err(self.bad(format!("a stack of at most {MAX_VALUES}"), "more")),
            None => Err(self.bad("a memo that was written", format!("memo {key}"))),
        }
    }

    // ---- values

    fn append(&mut self, items: &[Id]) -> Step {
        let list = self.top()?;
        match &mut self.values[list] {
            Value::List(list) => {
                list.extend_from_slice(items);
                Ok(())
            }
            other => Err(Self::bad_at(self.op_at, "a list", other.name())),
        }
    }

    fn set_items(&mut self, items: &[Id]) -> Step {
        let dict = self.top()?;
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(self.bad("a value for each key", "a key without one"));
        };
        match &mut self.values[dict] {
            Value::Dict(dict) => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            other => Err(Self::bad_at(self.op_at, "a dict", other.name())),
        }
    }

    fn global(&mut self, module: &str, name: &str) -> Step {
        match Global::of(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => Err(PickleError::Forbidden(printable(&format!("{module}.{name}")))),
        }
    }

    /// `('storage', <type>, key, location, elements)` stands for the elements in a file beside the pickle.
    fn persistent(&mut self) -> Step {
        let id = self.pop()?;
        let parts = self.tuple(id)?;
        let [tag, kind, key, _location, elements] = parts[..] else {
            return Err(self.bad("the 5 parts of a storage", format!("{}", parts.len())));
        };
        if self.str(tag)? != "storage" {
            return Err(self.bad("a reference to a storage", printable(self.str(tag)?)));
        }
        let Value::Global(Global::Storage(kind)) = self.values[kind] else {
            return Err(self.bad("a type of storage", self.values[kind].name()));
        };
        let size = kind.map_or(1, |kind| kind.elt_size_in_bytes() as u64);
        let elements = self.int(elements)?;
        let Some(bytes) = u64::try_from(elements).ok().and_then(|elements| elements.checked_mul(size)) else {
            return Err(self.bad("a size of a storage", format!("{elements} elements")));
        };
        let key = self.str(key)?;
        self.push(Value::Storage(Rc::new(PickledStorage { key, kind, bytes })))
    }

    /// Calls a function; those of [`Global`] only.
    fn reduce(&mut self) -> Step {
        let call = self.pop_many(2)?;
        let Value::Global(function) = self.values[call[0]] else {
            return Err(self.bad("a function to call", self.values[call[0]].name()));
        };
        let arguments = Rc::clone(self.tuple(call[1])?);
        match (function, &arguments[..]) {
            (Global::OrderedDict, []) => self.push(Value::Dict(Vec::new())),
            (Global::Size, &[sizes]) => {
                let sizes = Rc::clone(self.tuple(sizes)?);
                self.push(Value::Tuple(sizes))
            }
            (Global::RebuildParameter, &[tensor, ..]) => match &self.values[tensor] {
                Value::Tensor(tensor) => self.push(Value::Tensor(Rc::clone(tensor))),
                other => Err(self.bad("a tensor", other.name())),
            },
            (Global::RebuildTensorV2, &[storage, offset, shape, strides, ..]) => {
                self.rebuild_tensor(storage, offset, shape, strides, None)
            }
            (Global::RebuildTensorV3, &[storage, offset, shape, strides, _grad, _hooks, dtype, ..]) => {
                let Value::Global(Global::Dtype(kind)) = self.values[dtype] else {
                    return Err(self.bad("a dtype", self.values[dtype].name()));
                };
                self.rebuild_tensor(storage, offset, shape, strides, Some(kind))
            }
            (function, arguments) => Err(self.bad(
                "a call as state dicts make it",
                format!("{function:?} with {} arguments", arguments.len()),
            )),
        }
    }

    fn rebuild_tensor(
        &mut self,
        storage: Id,
        offset: Id,
        shape: Id,
        strides: Id,
        kind: Option<Kind>,
    ) -> Step {
        let storage = match &self.values[storage] {
            Value::Storage(storage) => Rc::clone(storage),
            other => return Err(self.bad("a storage", other.name())),
        };
        let Some(kind) = kind.or(storage.kind) else {
            return Err(self.bad("a storage with a type", "one without"));
        };
        let (offset, shape, strides) = (self.int(offset)?, self.ints(shape)?, self.ints(strides)?);
        self.push(Value::Tensor(Rc::new(PickledTensor { storage, kind, offset, shape, strides })))
    }

    /// Sets an object's attributes; only dicts get some (`_metadata` of a state dict), which we do not need.
    fn build(&mut self) -> Step {
        self.pop()?;
        let object = self.top()?;
        match &self.values[object] {
            Value::Dict(_) => Ok(()),
            other => Err(self.bad("a dict to set attributes of", other.name())),
        }
    }

    fn state_dict(&self, id: Id) -> Step<Vec<(&'a str, Rc<PickledTensor<'a>>)>> {
        let Value::Dict(entries) = &self.values[id] else {
            return Err(self.bad("a dict of tensors", self.values[id].name()));
        };
        let mut tensors = Vec::with_capacity(entries.len());
        for &(name, value) in entries {
            let name = self.str(name)?;
            match &self.values[value] {
                Value::Tensor(tensor) => tensors.push((name, Rc::clone(tensor))),
                other => return Err(self.bad(format!("a tensor as `{}`", printable(name)), other.name())),
            }
        }
        Ok(tensors)
    }

    fn str(&self, id: Id) -> Step<&'a str> {
        match &self.values[id] {
            Value::Str(string) => Ok(string),
            other => Err(self.bad("a string", other.name())),
        }
    }

    fn int(&self, id: Id) -> Step<i64> {
        match self.values[id] {
            Value::Int(n) => Ok(n),
            ref other => Err(self.bad("an integer", other.name())),
        }
    }

    /// A shape or strides.
    fn ints(&self, id: Id) -> Step<Vec<i64>> {
        let ids = self.tuple(id)?;
        if ids.len() > MAX_DIMENSIONS {
            return Err(self.bad(format!("at most {MAX_DIMENSIONS} dimensions"), ids.len().to_string()));
        }
        ids.iter().map(|&id| self.int(id)).collect()
    }

    fn tuple(&self, id: Id) -> Step<&Rc<[Id]>> {
        match &self.values[id] {
            Value::Tuple(items) => Ok(items),
            other => Err(self.bad("a tuple", other.name())),
        }
    }

    fn bad(&self, expected: impl Into<String>, found: impl Into<String>) -> PickleError {
        Self::bad_at(self.op_at, expected, found)
    }

    fn bad_at(at: usize, expected: impl Into<String>, found: impl Into<String>) -> PickleError {
        PickleError::Bad { at, expected: expected.into(), found: found.into() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAVED: &[u8] = include_bytes!("../../tests/data/checkpoint/state_dict.bin");

    /// The pickle in `state_dict.bin`.
    fn saved() -> &'static [u8] {
        let place = super::super::zip::entries(SAVED).unwrap()["state_dict/data.pkl"].clone();
        &SAVED[place]
    }

    #[test]
    fn reads_what_torch_wrote() {
        let tensors = read_state_dict(saved()).unwrap();
        assert_eq!(tensors.len(), 12);
        let (name, column) = &tensors[2];
        assert_eq!(
            (*name, column.offset, &column.shape[..], &column.strides[..]),
            ("column", 2, &[4][..], &[6][..])
        );
        assert_eq!((column.kind, column.storage.key, column.storage.bytes), (Kind::Float, "1", 96));
    }

    #[test]
    fn names_what_it_refuses_to_call() {
        let system = b"cos\nsystem\n(X\x02\x00\x00\x00lstR.";
        assert_eq!(read_state_dict(system), Err(PickleError::Forbidden("os.system".into())));
        let by_stack = b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.";
        assert_eq!(read_state_dict(by_stack), Err(PickleError::Forbidden("builtins.eval".into())));
        // A known name of another module, and one that would print control characters.
        for pickle in [&b"cevil\nOrderedDict\n."[..], b"ctorch._utils\n\x1b[2J\n."] {
            match read_state_dict(pickle) {
                Err(PickleError::Forbidden(name)) => assert!(!name.contains('\x1b'), "{name}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn refuses_what_a_state_dict_does_not_need() {
        for (pickle, expected) in [
            (&b""[..], "1 more bytes"),
            (b".", "1 values on the stack"),
            (b"N.", "a dict of tensors"),
            (b"}N", "1 more bytes"),
            (b"}K\x01K\x02s.", "a string"),
            (b"}X\x01\x00\x00\x00aK\x02s.", "a tensor as `a`"),
            (b"}(X\x01\x00\x00\x00au.", "a value for each key"),
            (b"X\xff\xff\xff\xff", "4294967295 more bytes"),
            (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615 more bytes"),
            (b"\x8a\xffx", "an integer of at most 8 bytes"),
            (b"h\x05", "a memo that was written"),
            (b"(0", "an opcode that a state dict needs"),
            (b"K\x01(\x85", "1 values on the stack"),
            (b"u", "a mark on the stack"),
            (b"ccollections\nOrderedDict\n(K\x01tR.", "a call as state dicts make it"),
            (b"NNR.", "a function to call"),
        ] {
            match read_state_dict(pickle) {
                Err(PickleError::Bad { expected: found, .. }) => assert_eq!(found, expected, "{pickle:?}"),
                other => panic!("{pickle:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_bomb_of_references_stays_small() {
        // Each round doubles the list in Python's eyes; here a round costs what its bytes cost.
        let mut bomb = b"]q\x00".to_vec();
        for _ in 0..100_000 {
            bomb.extend_from_slice(b"]q\x01(h\x00h\x00eh\x01q\x00");
        }
        bomb.push(b'.');
        assert!(matches!(read_state_dict(&bomb), Err(PickleError::Bad { .. })));
        // Nesting that a recursive reader could not follow, or drop.
        let mut deep = vec![b']'; 1_000_000];
        deep.extend(vec![b'a'; 999_999]);
        deep.push(b'.');
        assert!(matches!(read_state_dict(&deep), Err(PickleError::Bad { .. })));
        // One large tuple, named again and again by calls that Python would copy it for.
        let mut named = b"(".to_vec();
        named.extend(vec![b'N'; 900_000]);
        named.extend_from_slice(b"tq\x00ctorch\nSize\nq\x01");
        named.extend(b"h\x01h\x00\x85R".repeat(40_000));
        named.push(b'.');
        assert!(matches!(read_state_dict(&named), Err(PickleError::Bad { .. })));
        let endless = vec![b'N'; MAX_VALUES + 1];
        assert!(matches!(read_state_dict(&endless), Err(PickleError::Bad { at: MAX_VALUES, .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_state_dict(&bytes);
        }

        #[test]
        fn no_opcodes_make_it_panic(
            opcodes in prop::collection::vec(prop::sample::select(&b"(NK\x01)\x85\x86tt]aee}suuq\x01h\x01QRRb.."[..]), 0..200),
        ) {
            let _ = read_state_dict(&opcodes);
        }

        #[test]
        fn no_change_makes_it_panic(changes in prop::collection::vec((0..1078_usize, any::<u8>()), 1..8)) {
            let mut bytes = saved().to_vec();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            let _ = read_state_dict(&bytes);
        }
    }
}
