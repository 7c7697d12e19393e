//! HTTP for operators, on a thread of its own: a listener on which who is slow or hostile holds
//! nothing for long, and who may ask. What can be asked is said above, in `admin` and `stats`.

mod door;
mod gate;
mod listen;
mod seats;

pub use door::Patience;
pub use gate::{read_token, Gate, Refused, Token, TokenError};
pub use listen::{bind_tcp, bind_unix, hint, BindError, Hall, Listener};
