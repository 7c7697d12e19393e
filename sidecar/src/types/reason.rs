//! Why a share or a channel is refused, and the SV2 error strings that say so.

macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident => $code:expr,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The SV2 error string: printable ASCII, at most 255 bytes.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }
        }
    };
}

reasons! {
    /// Why a share is not credited (SubmitShares.Error, SV2 spec 5.3.14).
    RejectReason {
        /// No such channel on the connection.
        InvalidChannelId => mining_sv2::ERROR_CODE_SUBMIT_SHARES_INVALID_CHANNEL_ID,
        /// The channel never had that job, or it was forgotten.
        InvalidJobId => mining_sv2::ERROR_CODE_SUBMIT_SHARES_INVALID_JOB_ID,
        /// The job belongs to an older tip.
        Stale => mining_sv2::ERROR_CODE_SUBMIT_SHARES_STALE_SHARE,
        /// The hash is above the target.
        LowDifficulty => mining_sv2::ERROR_CODE_SUBMIT_SHARES_DIFFICULTY_TOO_LOW,
        /// The same header was accepted before.
        Duplicate => mining_sv2::ERROR_CODE_SUBMIT_SHARES_DUPLICATE_SHARE,
        /// The extranonce has another length than was granted.
        BadExtranonceSize => mining_sv2::ERROR_CODE_SUBMIT_SHARES_BAD_EXTRANONCE_SIZE,
        /// The version differs although the job forbids rolling.
        VersionRollingNotAllowed => mining_sv2::ERROR_CODE_VERSION_ROLLING_NOT_ALLOWED,
        /// A version bit outside the mask was changed.
        InvalidVersionBit =>
            mining_sv2::ERROR_CODE_SUBMIT_SHARES_INVALID_NON_ROLLABLE_VERSION_BIT,
        /// Below the job's min_ntime.
        NtimeTooOld => "ntime-too-old",
        /// Above the job's max_ntime, or too far ahead of the clock.
        NtimeTooNew => "ntime-too-new",
        /// Worthless for another reason.
        InvalidShare => mining_sv2::ERROR_CODE_SUBMIT_SHARES_INVALID_SHARE,
        /// More than the pool takes.
        RateLimited => "rate-limited",
        /// Nobody could judge the share; it is not credited.
        BackendUnavailable => "backend-unavailable",
        /// The worker may not mine (any more).
        Unauthorized => "unauthorized",
    }
}

reasons! {
    /// Why a channel is not opened or updated (SV2 spec 5.3.6, 5.3.8).
    RefuseReason {
        /// The identity names nobody the pool can pay.
        UnknownUser => mining_sv2::ERROR_CODE_OPEN_MINING_CHANNEL_UNKNOWN_USER,
        /// The identity is malformed.
        InvalidUserIdentity => mining_sv2::ERROR_CODE_OPEN_MINING_CHANNEL_INVALID_USER_IDENTITY,
        /// max_target is zero, or harder than the pool's maximum difficulty.
        MaxTargetOutOfRange => mining_sv2::ERROR_CODE_OPEN_MINING_CHANNEL_MAX_TARGET_OUT_OF_RANGE,
        /// Not finite, or negative.
        InvalidNominalHashrate =>
            mining_sv2::ERROR_CODE_OPEN_MINING_CHANNEL_INVALID_NOMINAL_HASHRATE,
        /// That many rollable bytes can't be granted.
        MinExtranonceSizeTooLarge =>
            mining_sv2::ERROR_CODE_OPEN_MINING_CHANNEL_MIN_EXTRANONCE_SIZE_TOO_LARGE,
        /// A limit on channels is reached.
        ChannelCapacityExhausted =>
            mining_sv2::ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED,
        /// The connection takes standard jobs only.
        ExtendedNotSupported => mining_sv2::
            ERROR_CODE_OPEN_MINING_CHANNEL_EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS,
        /// Banned, or not allowed.
        Unauthorized => "unauthorized",
        /// The pool has no work to give, or is away.
        BackendUnavailable => "backend-unavailable",
        /// Too many opens or updates.
        RateLimited => "rate-limited",
        /// No such channel.
        InvalidChannelId => mining_sv2::ERROR_CODE_UPDATE_CHANNEL_INVALID_CHANNEL_ID,
        /// A payout key was given but mint quotes are off.
        PayoutKeyNotSupported => "payout-key-not-supported",
        /// The miner requires version rolling, and the pool's jobs forbid it.
        VersionRollingNotAllowed => mining_sv2::ERROR_CODE_VERSION_ROLLING_NOT_ALLOWED,
        /// An extension that is required here was not agreed on.
        RequiredExtension => "required-extension-not-negotiated",
        /// A fault on our side.
        Internal => "internal-error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_printable_and_short() {
        let reject = RejectReason::ALL.iter().map(|r| r.as_str()).collect::<Vec<_>>();
        let refuse = RefuseReason::ALL.iter().map(|r| r.as_str()).collect::<Vec<_>>();
        for codes in [reject, refuse] {
            let distinct = codes.iter().collect::<std::collections::HashSet<_>>();
            assert_eq!(distinct.len(), codes.len());
            for code in codes {
                assert!(code.len() <= 255 && code.bytes().all(|b| b.is_ascii_graphic()), "{code}");
            }
        }
    }
}
