// What the pool's messages do. All functions here are called with the client's lock.

package sv2client

// receive applies a message; an error ends the connection.
func (c *Client) receive(m Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m := m.(type) {
	case *OpenStandardMiningChannelSuccess:
		return c.opened(&OpenExtendedMiningChannelSuccess{
			RequestID: m.RequestID, ChannelID: m.ChannelID, Target: m.Target,
			ExtranoncePrefix: m.ExtranoncePrefix, GroupChannelID: m.GroupChannelID,
		}, Standard)
	case *OpenExtendedMiningChannelSuccess:
		return c.opened(m, Extended)
	case *OpenMiningChannelError:
		wanted, err := c.answered(m.RequestID, Standard, Extended)
		if err == nil {
			wanted.answer <- openAnswer{err: &OpenError{Code: m.ErrorCode}}
		}
		return err
	case *NewMiningJob:
		return c.newStandardJob(m)
	case *NewExtendedMiningJob:
		return c.newExtendedJob(m)
	case *SetNewPrevHash:
		return c.each(m.ChannelID, func(ch *Channel) error { return ch.newTip(m) })
	case *SetTarget:
		return c.each(m.ChannelID, func(ch *Channel) error { ch.newTarget(m.MaximumTarget); return nil })
	case *SetExtranoncePrefix:
		return c.one(m.ChannelID, func(ch *Channel) error { return ch.newPrefix(m.ExtranoncePrefix) })
	case *SetGroupChannel:
		return c.regroup(m)
	case *SubmitSharesSuccess:
		return c.one(m.ChannelID, func(ch *Channel) error { return ch.accepted(m) })
	case *SubmitSharesError:
		return c.one(m.ChannelID, func(ch *Channel) error { return ch.rejected(m) })
	case *UpdateChannelError:
		return c.one(m.ChannelID, func(ch *Channel) error {
			ch.updateRefused = &UpdateError{Code: m.ErrorCode}
			ch.notify()
			return nil
		})
	case *CloseChannel:
		return c.each(m.ChannelID, func(ch *Channel) error {
			ch.retire(&ChannelClosedError{Reason: m.ReasonCode})
			return nil
		})
	case *Reconnect:
		c.moved = &ReconnectError{To: *m}
		for _, channel := range c.channels {
			channel.notify()
		}
		return nil
	case *SetupConnectionSuccess, *SetupConnectionError:
		return violation("a second answer to SetupConnection")
	default:
		return nil // unknown, or nothing that a pool sends
	}
}

// one applies what concerns one channel. What is still under way for a closed channel does nothing.
func (c *Client) one(id uint32, apply func(*Channel) error) error {
	if channel, open := c.channels[id]; open {
		return apply(channel)
	}
	if _, retired := c.retired[id]; retired {
		return nil
	}
	return violation("a message for channel %d, which was never opened", id)
}

// each applies what concerns a channel, or all channels of a group.
func (c *Client) each(id uint32, apply func(*Channel) error) error {
	if _, group := c.groups[id]; !group {
		return c.one(id, apply)
	}
	for _, channel := range c.channels {
		if channel.group != id {
			continue
		}
		if err := apply(channel); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) newStandardJob(m *NewMiningJob) error {
	return c.one(m.ChannelID, func(ch *Channel) error {
		if ch.kind != Standard {
			return violation("NewMiningJob for the extended channel %d", ch.id)
		}
		return ch.newJob(&job{id: m.JobID, version: m.Version, standardRoot: m.MerkleRoot,
			versionRolling: c.serverFlags&RequiresFixedVersion == 0}, m.MinNTime)
	})
}

func (c *Client) newExtendedJob(m *NewExtendedMiningJob) error {
	switch {
	case c.standardOnly():
		return violation("an extended job, although we require standard ones")
	case m.VersionRollingAllowed && c.serverFlags&RequiresFixedVersion != 0:
		return violation("a job that allows version rolling, which the pool forbade")
	case !m.VersionRollingAllowed && c.config.Flags&RequiresVersionRolling != 0:
		return violation("a job that forbids version rolling, which we require")
	}
	_, group := c.groups[m.ChannelID]
	return c.each(m.ChannelID, func(ch *Channel) error {
		arrived := &job{id: m.JobID, version: m.Version, versionRolling: m.VersionRollingAllowed}
		switch {
		case ch.kind == Extended:
			arrived.extended = m
		case group:
			arrived.standardRoot = merkleRoot(m, ch.prefix, nil)
		default:
			return violation("NewExtendedMiningJob for the standard channel %d", ch.id)
		}
		return ch.newJob(arrived, m.MinNTime)
	})
}

func (c *Client) regroup(m *SetGroupChannel) error {
	if c.standardOnly() {
		return violation("a group on a connection for standard jobs")
	}
	if err := c.group(m.GroupChannelID); err != nil {
		return err
	}
	for _, id := range m.ChannelIDs {
		err := c.one(id, func(ch *Channel) error { ch.group = m.GroupChannelID; return nil })
		if err != nil {
			return err
		}
	}
	return nil
}
