//! Published data sets: their files, addresses, checksums and class names.

/// A published data set: its possible places on a computer, and its addresses.
#[derive(Debug)]
pub(crate) struct PublishedDataset {
    /// Name of the data set in `--data`.
    pub name: &'static str,
    /// Sub-folders of a data directory that may hold it; the first is the target of downloads, others are torchvision's.
    pub folders: &'static [&'static str],
    /// Places where operating systems' packages put it.
    pub system: &'static [&'static str],
    /// Addresses that a file's name is appended to, the best first.
    pub mirrors: &'static [&'static str],
    /// Published files.
    pub files: &'static [RemoteFile],
    /// Names of the classes, in the order of the labels.
    pub classes: &'static [&'static str],
}

/// A published file; lengths and hashes are those of TensorFlow Datasets (`url_checksums`).
#[derive(Debug)]
pub(crate) struct RemoteFile {
    /// Name on the server and on the disk.
    pub name: &'static str,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: &'static str,
}

/// Fashion-MNIST (Xiao et al. 2017): 60,000 + 10,000 grey pictures of clothes, 28×28.
pub(crate) const FASHION_MNIST: PublishedDataset = PublishedDataset {
    name: "fashion-mnist",
    folders: &["fashion-mnist", "FashionMNIST/raw"],
    system: &["/usr/share/datasets/fashion-mnist"],
    mirrors: &[
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ],
    files: &[
        RemoteFile {
            name: "train-images-idx3-ubyte.gz",
            bytes: 26_421_880,
            sha256: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        },
        RemoteFile {
            name: "train-labels-idx1-ubyte.gz",
            bytes: 29_515,
            sha256: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        },
        RemoteFile {
            name: "t10k-images-idx3-ubyte.gz",
            bytes: 4_422_102,
            sha256: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        },
        RemoteFile {
            name: "t10k-labels-idx1-ubyte.gz",
            bytes: 5_148,
            sha256: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ],
    classes: &[
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ],
};

/// MNIST (LeCun et al. 1998): 60,000 + 10,000 handwritten digits, 28×28.
pub(crate) const MNIST: PublishedDataset = PublishedDataset {
    name: "mnist",
    folders: &["mnist", "MNIST/raw"],
    system: &["/usr/share/datasets/mnist"],
    mirrors: &[
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ],
    files: &[
        RemoteFile {
            name: "train-images-idx3-ubyte.gz",
            bytes: 9_912_422,
            sha256: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        },
        RemoteFile {
            name: "train-labels-idx1-ubyte.gz",
            bytes: 28_881,
            sha256: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        },
        RemoteFile {
            name: "t10k-images-idx3-ubyte.gz",
            bytes: 1_648_877,
            sha256: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        },
        RemoteFile {
            name: "t10k-labels-idx1-ubyte.gz",
            bytes: 4_542,
            sha256: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ],
    classes: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
};

/// CIFAR-10 (Krizhevsky 2009), binary version: 50,000 + 10,000 colour pictures, 32×32.
pub(crate) const CIFAR10: PublishedDataset = PublishedDataset {
    name: "cifar10",
    folders: &["cifar10", ""],
    system: &[],
    mirrors: &["https://www.cs.toronto.edu/~kriz/"],
    files: &[RemoteFile {
        name: "cifar-10-binary.tar.gz",
        bytes: 170_052_171,
        sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    }],
    classes: &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
};

/// CIFAR-100 (Krizhevsky 2009), binary version, with its fine labels: 50,000 + 10,000 colour pictures, 32×32.
pub(crate) const CIFAR100: PublishedDataset = PublishedDataset {
    name: "cifar100",
    folders: &["cifar100", ""],
    system: &[],
    mirrors: &["https://www.cs.toronto.edu/~kriz/"],
    files: &[RemoteFile {
        name: "cifar-100-binary.tar.gz",
        bytes: 168_513_733,
        sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    }],
    classes: &[
        "apple",
        "aquarium_fish",
        "baby",
        "bear",
        "beaver",
        "bed",
        "bee",
        "beetle",
        "bicycle",
        "bottle",
        "bowl",
        "boy",
        "bridge",
        "bus",
        "butterfly",
        "camel",
        "can",
        "castle",
        "caterpillar",
        "cattle",
        "chair",
        "chimpanzee",
        "clock",
        "cloud",
        "cockroach",
        "couch",
        "crab",
        "crocodile",
        "cup",
        "dinosaur",
        "dolphin",
        "elephant",
        "flatfish",
        "forest",
        "fox",
        "girl",
        "hamster",
        "house",
        "kangaroo",
        "keyboard",
        "lamp",
        "lawn_mower",
        "leopard",
        "lion",
        "lizard",
        "lobster",
        "man",
        "maple_tree",
        "motorcycle",
        "mountain",
        "mouse",
        "mushroom",
        "oak_tree",
        "orange",
        "orchid",
        "otter",
        "palm_tree",
        "pear",
        "pickup_truck",
        "pine_tree",
        "plain",
        "plate",
        "poppy",
        "porcupine",
        "possum",
        "rabbit",
        "raccoon",
        "ray",
        "road",
        "rocket",
        "rose",
        "sea",
        "seal",
        "shark",
        "shrew",
        "skunk",
        "skyscraper",
        "snail",
        "snake",
        "spider",
        "squirrel",
        "streetcar",
        "sunflower",
        "sweet_pepper",
        "table",
        "tank",
        "telephone",
        "television",
        "tiger",
        "tractor",
        "train",
        "trout",
        "tulip",
        "turtle",
        "wardrobe",
        "whale",
        "willow_tree",
        "wolf",
        "woman",
        "worm",
    ],
};

/// STL-10 (Coates et al. 2011), binary version: 5,000 + 8,000 labelled colour pictures, 96×96. The archive's 100,000
/// unlabelled ones are not used, as in Chen et al. 2020, section 3.1.
pub(crate) const STL10: PublishedDataset = PublishedDataset {
    name: "stl10",
    folders: &["stl10", ""],
    system: &[],
    mirrors: &["https://cs.stanford.edu/~acoates/stl10/", "http://ai.stanford.edu/~acoates/stl10/"],
    files: &[RemoteFile {
        name: "stl10_binary.tar.gz",
        bytes: 2_640_397_119,
        sha256: "f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
    }],
    classes: &["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"],
};
