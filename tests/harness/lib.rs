//! What the black-box tests share: real processes, scratch directories, journals.
