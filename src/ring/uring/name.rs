//! What the kernel calls an op: its user data.

use crate::{Lane, OpKind, Tag};

/// A cancel's own completion says nothing that its target's does not.
pub(super) const CANCEL: u64 = 0;

/// The watch of [`Room`]: a kind that no op has.
pub(super) const ROOM: u64 = 15 << 60;

/// `kind(4) | lane(1) | 0(3) | slot(24) | generation(32)`; kinds start at 1, so 0 is nobody.
pub(super) fn user_data(kind: OpKind, tag: Tag) -> u64 {
    assert!(tag.slot < 1 << 24, "slot {} does not fit 24 bits", tag.slot);
    let kind: u64 = match kind {
        OpKind::Accept => 1,
        OpKind::Dial => 2,
        OpKind::Recv => 3,
        OpKind::Send => 4,
        OpKind::Poll => 5,
        OpKind::Splice => 6,
    };
    let lane: u64 = match tag.lane {
        Lane::A => 0,
        Lane::B => 1,
    };
    kind << 60 | lane << 59 | u64::from(tag.slot) << 32 | u64::from(tag.generation)
}

pub(super) fn owner(user_data: u64) -> Option<(OpKind, Tag)> {
    let kind = match user_data >> 60 {
        0 | 15 => return None,
        1 => OpKind::Accept,
        2 => OpKind::Dial,
        3 => OpKind::Recv,
        4 => OpKind::Send,
        5 => OpKind::Poll,
        6 => OpKind::Splice,
        other => unreachable!("we never submit kind {other}"),
    };
    let lane = if user_data >> 59 & 1 == 0 {
        Lane::A
    } else {
        Lane::B
    };
    let slot = (user_data >> 32 & 0xff_ffff) as u32;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low half is the generation"
    )]
    let generation = user_data as u32;
    Some((
        kind,
        Tag {
            lane,
            slot,
            generation,
        },
    ))
}
