//! Damaged and hostile archives of torch, whose pickles run nothing.

use std::fs;
use std::io::Write;

use super::{assert_has, foreign, refusal};
use crate::model::ModelDir;

/// The archive of the tiny model with another pickle in it.
fn with_pickle(pickle: &[u8]) -> String {
    let temp = tempfile::tempdir().unwrap();
    for file in ["config.json", "preprocessor_config.json"] {
        fs::copy(foreign("bin").join(file), temp.path().join(file)).unwrap();
    }
    let mut zip = zip::ZipWriter::new(fs::File::create(temp.path().join("pytorch_model.bin")).unwrap());
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("x/data.pkl", pickle), ("x/data/0", &[0u8; 64])] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    let message = refusal(temp.path());
    assert_has(&message, &["pytorch_model.bin"]);
    message
}

#[test]
fn hostile_pickles_run_nothing_and_are_refused() {
    // os.system("touch …"), as `pickle.dumps` of an object with a malicious __reduce__ writes it.
    let shell = with_pickle(b"\x80\x02cposix\nsystem\nq\0X\x09\0\0\0touch pwnq\x01\x85q\x02Rq\x03.");
    assert_has(&shell, &["posix.system", "refused, nothing was run"]);
    assert_has(&with_pickle(b"\x80\x02cbuiltins\neval\n(tR."), &["builtins.eval"]);
    assert_has(&with_pickle(b"\x80\x02ctorch\nload\n."), &["torch.load"]);
    assert_has(&with_pickle(b"\x80\x04\x95."), &["protocol 4"]);
    assert_has(&with_pickle(b"\x80\x02(i__main__\nX\n."), &["opcode 0x69"]);
    assert_has(&with_pickle(b"\x80\x02}q\0"), &["truncated"]);
    assert_has(&with_pickle(b"\x80\x02."), &["empty stack"]);
    assert_has(&with_pickle(b"\x80\x02N."), &["holds None"]);
    assert_has(&with_pickle(b"\x80\x02}K\x01K\x02s."), &["key of its state dict is an integer"]);
    assert_has(&with_pickle(b"\x80\x02h\x05."), &["recalls"]);
    assert_has(&with_pickle(b"\x80\x02t."), &["misses a mark"]);
    assert_has(&with_pickle(b"\x80\x02}(K\x01u."), &["key without a value"]);
    assert_has(&with_pickle(b"\x80\x02X\xff\xff\xff\xffabc."), &["truncated"]);
    assert_has(&with_pickle(b"\x80\x02X\x01\0\0\0aQ."), &["tuple was expected"]);
    assert_has(&with_pickle(b"\x80\x02ccollections\nOrderedDict\n)Rccollections\nOrderedDict\nb."), &["state"]);
}

#[test]
fn pickled_tensors_outside_their_storage_are_refused() {
    // A state dict with one tensor "a" of the given offset and single side; its storage data/0 has 64 bytes.
    let tensor = |offset: i32, side: i32, key: u8| {
        let mut p =
            b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n"
                .to_vec();
        p.extend_from_slice(b"X\x01\0\0\0");
        p.push(key);
        p.extend_from_slice(b"X\x03\0\0\0cpuK\x10tQJ");
        p.extend_from_slice(&offset.to_le_bytes());
        p.push(b'J');
        p.extend_from_slice(&side.to_le_bytes());
        p.extend_from_slice(b"\x85K\x01\x85\x89}tRs.");
        p
    };
    assert_has(&with_pickle(&tensor(0, 17, b'0')), &["tensor a", "don't lie inside its storage of 64 bytes"]);
    assert_has(&with_pickle(&tensor(1, 16, b'0')), &["tensor a", "inside its storage"]);
    assert_has(&with_pickle(&tensor(i32::MAX, i32::MAX, b'0')), &["tensor a", "inside its storage"]);
    assert_has(&with_pickle(&tensor(0, -1, b'0')), &["side of -1"]);
    assert_has(&with_pickle(&tensor(-1, 1, b'0')), &["starts at element -1"]);
    assert_has(&with_pickle(&tensor(0, 16, b'1')), &["tensor a", "data/1 is missing"]);
    // In itself whole: refused only because the model has no such tensor.
    assert_has(&with_pickle(&tensor(0, 16, b'0')), &["pytorch_model.bin", "wte.weight is missing"]);
}

/// `x/data.pkl` of a state dict that repeats: what follows `prefix` again and again, then the end.
fn repeated(prefix: &[u8], part: &[u8], times: usize, end: &[u8]) -> Vec<u8> {
    [prefix, &part.repeat(times), end].concat()
}

#[test]
fn no_opcode_takes_time_or_memory_by_the_product_of_two_lengths() {
    // A tensor and 200,000 numbers in a tuple that 200,000 reductions refer to; none may walk or copy it.
    let rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x10tQK\0";
    let tensor = [&rebuild[..], b"K\x01\x85K\x01\x85\x89}tR"].concat();
    let tuple = repeated(&[&b"\x80\x02("[..], &tensor].concat(), b"K\x01", 200_000, b"tq\x00");
    let calls = repeated(b"ctorch._utils\n_rebuild_parameter\nq\x01", b"h\x01h\x00R", 200_000, b".");
    assert_has(&with_pickle(&[&tuple[..], &calls].concat()), &["holds a tensor, but a state dict"]);
    let sides = repeated(&[&b"\x80\x02"[..], rebuild, b"("].concat(), b"K\x01", 200_000, b"tq\x00h\x00\x89}tR.");
    assert_has(&with_pickle(&sides), &["200000 sides or strides"]);
    // A name of a megabyte as the key of half a million entries.
    let name = vec![b'n'; 1 << 20];
    let head = [&b"\x80\x02}q\x00(X"[..], &(1u32 << 20).to_le_bytes(), &name, b"q\x01h\x01"].concat();
    let message = with_pickle(&repeated(&head, b"h\x01h\x01", 500_000, b"u."));
    assert_has(&message, &["nnn…", "expected a tensor"]);
    assert!(message.len() < 1000, "{} characters", message.len());
    // 100,000 tensors in a storage whose name has a megabyte.
    let storage = [
        &b"\x80\x02}q\x00(X\x07\0\0\0storagectorch\nFloatStorage\nX"[..],
        &(1u32 << 20).to_le_bytes(),
        &name,
        b"X\x03\0\0\0cpuK\x10tQq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02(h\x01K\0K\x01\x85K\x01\x85\x89}tq\x03(",
    ];
    let message = with_pickle(&repeated(&storage.concat(), b"h\x02h\x03R", 100_000, b"u."));
    assert_has(&message, &["not a dict"]);
}

/// A state dict of tensors of these names, all the `shape` with `strides` in storage 0, which has 64 bytes.
fn tensors(names: &[&str], shape: [u8; 2], strides: [u8; 2]) -> Vec<u8> {
    let mut p = b"\x80\x02}".to_vec();
    for name in names {
        p.extend_from_slice(b"X");
        p.extend_from_slice(&(name.len() as u32).to_le_bytes());
        p.extend_from_slice(name.as_bytes());
        p.extend_from_slice(b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n");
        p.extend_from_slice(b"X\x01\0\0\x000X\x03\0\0\0cpuK\x10tQK\0");
        for [a, b] in [shape, strides] {
            p.extend_from_slice(&[b'K', a, b'K', b, b'\x86']);
        }
        p.extend_from_slice(b"\x89}tRs");
    }
    p.push(b'.');
    p
}

#[test]
fn tensors_that_use_their_storage_several_times_are_refused() {
    // 255 × 255 values out of one, or out of sixteen.
    for (shape, strides) in [([255, 255], [0, 0]), ([255, 15], [0, 1]), ([8, 8], [1, 1])] {
        let message = with_pickle(&tensors(&["a"], shape, strides));
        assert_has(&message, &["tensor a", "several times", "contiguous"]);
    }
    assert_has(&with_pickle(&tensors(&["a", "b", "a"], [4, 4], [4, 1])), &["a is twice in its state dict"]);
    // A thousand tensors that are all the same 64 bytes: more than the file is long, since most is said once.
    let mut shared = tensors(&["a"], [4, 4], [4, 1]);
    let remembered = shared.len() - 2;
    shared.splice(remembered.., *b"q\x0fs");
    for i in 0..1000 {
        shared.extend_from_slice(b"X\x03\0\0\0");
        shared.extend_from_slice(format!("{i:03}").as_bytes());
        shared.extend_from_slice(b"h\x0fs");
    }
    shared.push(b'.');
    assert_has(&with_pickle(&shared), &["take more than the file's", "several are made of the same"]);
    // A transposed matrix is as torch saves one.
    assert_has(&with_pickle(&tensors(&["a"], [4, 4], [1, 4])), &["wte.weight is missing"]);
}

#[test]
fn every_member_of_an_archive_is_held_against_its_checksum() {
    let temp = tempfile::tempdir().unwrap();
    for file in ["config.json", "preprocessor_config.json"] {
        fs::copy(foreign("bin").join(file), temp.path().join(file)).unwrap();
    }
    let path = temp.path().join("pytorch_model.bin");
    let good = fs::read(foreign("bin").join("pytorch_model.bin")).unwrap();
    fs::write(&path, &good).unwrap();
    let weights = ModelDir::open(temp.path()).unwrap().weights;
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(good.clone())).unwrap();
    let mut checked = 0;
    for i in 0..zip.len() {
        let (name, start, size) = {
            let member = zip.by_index(i).unwrap();
            (member.name().to_string(), member.data_start() as usize, member.size() as usize)
        };
        if size == 0 || name.ends_with("byteorder") {
            continue;
        }
        let mut damaged = good.clone();
        damaged[start + size / 2] ^= 1;
        fs::write(&path, damaged).unwrap();
        assert_has(&refusal(temp.path()), &["pytorch_model.bin", &name, "damaged"]);
        checked += 1;
    }
    assert!(checked > 10, "{checked} members");
    fs::write(&path, good).unwrap();
    assert_eq!(ModelDir::open(temp.path()).unwrap().weights, weights);
}

#[test]
fn damaged_archives_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    for file in ["config.json", "preprocessor_config.json"] {
        fs::copy(foreign("bin").join(file), temp.path().join(file)).unwrap();
    }
    let good = fs::read(foreign("bin").join("pytorch_model.bin")).unwrap();
    let path = temp.path().join("pytorch_model.bin");
    for len in [0, 10, good.len() / 2, good.len() - 1] {
        fs::write(&path, &good[..len]).unwrap();
        assert_has(&refusal(temp.path()), &["pytorch_model.bin", "zip archive"]);
    }
}
