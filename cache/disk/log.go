package disk

import (
	"strconv"
	"time"
)

// damageLog is what is to be said of trouble with reading: at once the first time, and then not more often than so often.
// Tier.mu guards it.
type damageLog struct {
	found  int    // damaged records since the last line
	key    string // of one of them
	unread error  // why something couldn't be read
	last   time.Time
}

func (d *damageLog) count(key string) {
	d.found++
	d.key = key
}

// due is when the next line may be written, and whether there is one to be.
func (d *damageLog) due(every time.Duration) (time.Time, bool) {
	return d.last.Add(every), d.found > 0 || d.unread != nil
}

// sayDamage writes what there is to be said.
func (t *Tier) sayDamage() {
	t.mu.Lock()
	said := t.damage
	t.damage = damageLog{last: time.Now()}
	t.mu.Unlock()
	if said.found > 0 {
		t.log.Warn().Str("file", t.folder.file()).Int("records", said.found).Str("key", strconv.QuoteToASCII(said.key)).
			Msg("disk tier: damaged records found and removed")
	}
	if said.unread != nil {
		t.log.Error().Str("file", t.folder.file()).AnErr("reason", said.unread).Msg("disk tier: can't be read")
	}
}

// saySuccess and sayFailure write a line when writing begins to fail and when it works again.
func (t *Tier) saySuccess() {
	t.log.Info().Str("file", t.folder.file()).Msg("disk tier: can be written again")
}

func (t *Tier) sayFailure(err error) {
	t.log.Error().Str("file", t.folder.file()).AnErr("reason", err).
		Msg("disk tier: can't be written, tried again until it can; certificates are served all the same")
}
