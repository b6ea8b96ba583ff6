package challenge

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mholt/acmez/v3/acme"
	"github.com/rs/zerolog"

	"hellogate/store/acme/program"
)

const defaultDNSTime = 5 * time.Minute

// DNSOptions say which program answers DNS-01 challenges. Argv and Storage are needed.
type DNSOptions struct {
	// Argv is the program and its arguments. It is run as mod_md runs its MDChallengeDns01 command:
	//
	//	ARGV... setup NAME DATA
	//	ARGV... teardown NAME DATA
	//
	// NAME is the name that is checked, also where it is for *.NAME; the record is _acme-challenge.NAME, a TXT with DATA.
	// It may be told to set up several for a NAME, which have to be there side by side. setup is expected to return when the
	// record can be seen, with 0.
	Argv []string
	// Timeout is when a run is killed, with its process group; 0: 5 minutes.
	Timeout time.Duration
	// Wait is how long to wait after setup before the authority is told.
	Wait time.Duration
	// Env ("K=V") is in the program's environment, beside PATH, HOME and LANG of ours.
	Env []string
	// Storage is where it is noted what is set up, for Sweep.
	Storage Storage
	// Log takes a line for each run that exited with 0, with what it printed.
	Log zerolog.Logger
}

// DNS answers DNS-01 challenges (RFC 8555 section 8.4) by a program. It is an acmez.Solver and an acmez.Waiter, safe for
// concurrent use.
type DNS struct{ options DNSOptions }

// NewDNS checks options. Whether the program is there is seen when it is run.
func NewDNS(options DNSOptions) (*DNS, error) {
	if err := program.Check(options.Argv); err != nil {
		return nil, fmt.Errorf("dns-01 command: %w", err)
	}
	if options.Timeout <= 0 {
		options.Timeout = defaultDNSTime
	}
	return &DNS{options: options}, nil
}

// Present notes the record in the storage and has the program set it up.
func (d *DNS) Present(ctx context.Context, challenge acme.Challenge) error {
	e, err := dnsEntry(challenge)
	if err == nil {
		err = save(ctx, d.options.Storage, e)
	}
	if err == nil {
		err = d.run(ctx, "setup", e)
	}
	if err != nil {
		return fmt.Errorf("present a dns-01 challenge: %w", err)
	}
	return nil
}

// Wait waits for the time that was configured.
func (d *DNS) Wait(ctx context.Context, _ acme.Challenge) error {
	if err := sleep(ctx, d.options.Wait); err != nil {
		return fmt.Errorf("wait for the record of a dns-01 challenge: %w", err)
	}
	return nil
}

// CleanUp has the program tear the record down, also when ctx is done. If it fails, Sweep has it tried once more.
func (d *DNS) CleanUp(ctx context.Context, challenge acme.Challenge) error {
	ctx = context.WithoutCancel(ctx)
	e, err := dnsEntry(challenge)
	if err == nil {
		err = d.run(ctx, "teardown", e)
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, cleanUpTime)
		defer cancel()
		err = d.options.Storage.Remove(ctx, e.key())
	}
	if err != nil {
		return fmt.Errorf("clean up a dns-01 challenge: %w", err)
	}
	return nil
}

// Sweep tears down the records that have been there for longer than age: those of killed processes, and those of which the
// tearing down failed. They are tried once.
func (d *DNS) Sweep(ctx context.Context, age time.Duration) error {
	return sweep(ctx, d.options.Storage, acme.ChallengeTypeDNS01, age, func(e entry) {
		if err := d.run(ctx, "teardown", e); err != nil {
			d.options.Log.Warn().Err(err).Str("name", e.Name).Msg("dns-01 challenge: a record was left behind")
		}
	})
}

func dnsEntry(challenge acme.Challenge) (entry, error) {
	e, err := entryOf(challenge)
	e.Type = acme.ChallengeTypeDNS01
	return e, err
}

func (d *DNS) run(ctx context.Context, action string, e entry) error {
	ctx, cancel := context.WithTimeout(ctx, d.options.Timeout)
	defer cancel()
	data := acme.Challenge{KeyAuthorization: e.KeyAuthorization}.DNS01KeyAuthorization()
	argv := slices.Concat(d.options.Argv, []string{action, e.Name, data})
	ended := program.Command{Argv: argv, Env: d.options.Env}.Run(ctx)
	if ended.Err == nil {
		ended.Log(d.options.Log.Info(), argv[0]).Str("action", action).Str("name", e.Name).Msg("dns-01 command")
	}
	return ended.Failure(argv[0])
}
