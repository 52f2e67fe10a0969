//! Row-major matrix views with a row stride, so that heads and padded rows need no copies.

use std::marker::PhantomData;

/// Read-only `rows × cols` matrix view with a row stride: row `i` starts at element `i * stride`.
///
/// The elements between rows are not part of it and may be written by others meanwhile, so it is not simply a `&[T]`.
#[derive(Debug)]
pub struct MatRef<'a, T> {
    data: *const T,
    rows: usize,
    cols: usize,
    stride: usize,
    owner: PhantomData<&'a [T]>,
}

impl<T> Clone for MatRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for MatRef<'_, T> {}

// SAFETY: a MatRef is a shared borrow of the elements it covers, like `&[T]`.
unsafe impl<T: Sync> Send for MatRef<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for MatRef<'_, T> {}

impl<'a, T> MatRef<'a, T> {
    /// View of a contiguous matrix.
    ///
    /// Panics unless `data.len() == rows * cols`.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a {rows}×{cols} matrix");
        Self::strided(data, rows, cols, cols)
    }

    /// View of a strided matrix whose first element is `data[0]`.
    ///
    /// Panics if the last row would end outside `data`.
    pub fn strided(data: &'a [T], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(cols <= stride || rows <= 1, "columns {cols} exceed the stride {stride}");
        assert!(rows == 0 || (rows - 1) * stride + cols <= data.len(), "a {rows}×{cols} view with stride {stride}");
        Self { data: data.as_ptr(), rows, cols, stride, owner: PhantomData }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }
    /// Number of elements from one row's start to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }
    /// Row `i` as a slice of `cols` elements.
    pub fn row(&self, i: usize) -> &'a [T] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        // SAFETY: the row lies inside the elements that this view borrows.
        unsafe { std::slice::from_raw_parts(self.data.add(i * self.stride), self.cols) }
    }
    /// View of the sub-matrix of `rows` rows from `row` and `cols` columns from `col`.
    pub fn view(&self, row: usize, rows: usize, col: usize, cols: usize) -> MatRef<'a, T> {
        assert!(row + rows <= self.rows && col + cols <= self.cols, "a view outside its matrix");
        // SAFETY: when there are rows the offset is inside the borrowed elements; otherwise it stays at the start.
        let data = if rows == 0 { self.data } else { unsafe { self.data.add(row * self.stride + col) } };
        MatRef { data, rows, cols, stride: self.stride, owner: PhantomData }
    }
    /// Pointer to the first element.
    pub fn as_ptr(&self) -> *const T {
        self.data
    }
}

/// Writable `rows × cols` matrix view with a row stride.
///
/// Several may exist in one buffer at once if their columns are disjoint (the heads of attention), so it is not simply
/// a `&mut [T]`.
#[derive(Debug)]
pub struct MatMut<'a, T> {
    data: *mut T,
    rows: usize,
    cols: usize,
    stride: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: a MatMut is an exclusive borrow of the elements it covers, like `&mut [T]`.
unsafe impl<T: Send> Send for MatMut<'_, T> {}
// SAFETY: shared references to a MatMut only read, like `&&mut [T]`.
unsafe impl<T: Sync> Sync for MatMut<'_, T> {}

impl<'a, T> MatMut<'a, T> {
    /// View of a contiguous matrix.
    ///
    /// Panics unless `data.len() == rows * cols`.
    pub fn new(data: &'a mut [T], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a {rows}×{cols} matrix");
        Self::strided(data, rows, cols, cols)
    }

    /// View of a strided matrix whose first element is `data[0]`.
    ///
    /// Panics if the last row would end outside `data`.
    pub fn strided(data: &'a mut [T], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(cols <= stride || rows <= 1, "columns {cols} exceed the stride {stride}");
        assert!(rows == 0 || (rows - 1) * stride + cols <= data.len(), "a {rows}×{cols} view with stride {stride}");
        Self { data: data.as_mut_ptr(), rows, cols, stride, owner: PhantomData }
    }

    /// View of raw memory.
    ///
    /// # Safety
    /// For `'a`, the elements `data + i * stride + j` with `i < rows`, `j < cols` must be valid, initialised and
    /// reached through this view alone.
    pub(crate) unsafe fn from_raw(data: *mut T, rows: usize, cols: usize, stride: usize) -> Self {
        Self { data, rows, cols, stride, owner: PhantomData }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }
    /// Number of elements from one row's start to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }
    /// Row `i` as a slice of `cols` elements.
    pub fn row(&self, i: usize) -> &[T] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        // SAFETY: the row lies inside the elements that this view owns, and `&self` keeps writers out.
        unsafe { std::slice::from_raw_parts(self.data.add(i * self.stride), self.cols) }
    }
    /// Row `i` as a writable slice.
    pub fn row_mut(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        // SAFETY: the row lies inside the elements that this view owns exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(i * self.stride), self.cols) }
    }
    /// Read-only view of the same elements.
    pub fn as_ref(&self) -> MatRef<'_, T> {
        MatRef { data: self.data, rows: self.rows, cols: self.cols, stride: self.stride, owner: PhantomData }
    }
    /// Splits the view into adjacent views of these widths, and drops the columns beyond them.
    ///
    /// Panics if there are fewer columns.
    pub fn columns<const N: usize>(self, widths: [usize; N]) -> [MatMut<'a, T>; N] {
        assert!(widths.iter().sum::<usize>() <= self.cols, "{widths:?} columns of {}", self.cols);
        let mut first = 0;
        widths.map(|cols| {
            let offset = if self.rows == 0 { 0 } else { first };
            first += cols;
            // SAFETY: the views' columns are disjoint and lie inside this view, which is given up for them.
            unsafe { MatMut::from_raw(self.data.add(offset), self.rows, cols, self.stride) }
        })
    }
    /// Reborrows the view for a shorter lifetime.
    pub fn reborrow(&mut self) -> MatMut<'_, T> {
        MatMut { data: self.data, rows: self.rows, cols: self.cols, stride: self.stride, owner: PhantomData }
    }
    /// Writable view of the sub-matrix of `rows` rows from `row` and `cols` columns from `col`.
    pub fn view(&mut self, row: usize, rows: usize, col: usize, cols: usize) -> MatMut<'_, T> {
        assert!(row + rows <= self.rows && col + cols <= self.cols, "a view outside its matrix");
        // SAFETY: when rows > 0 the offset is inside the owned elements; otherwise it stays at the start.
        let data = if rows == 0 { self.data } else { unsafe { self.data.add(row * self.stride + col) } };
        MatMut { data, rows, cols, stride: self.stride, owner: PhantomData }
    }
    /// Pointer to the first element.
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.data
    }
}
