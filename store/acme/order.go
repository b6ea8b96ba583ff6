package acme

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"hellogate/store"
)

// challengeTypes are those that there may be, those first that need the least of others.
var challengeTypes = []string{acme.ChallengeTypeTLSALPN01, acme.ChallengeTypeHTTP01, acme.ChallengeTypeDNS01}

// order is one with an authority, for one name.
type order struct {
	try     *try
	name    string
	client  *acme.Client
	heard   *recorder
	account acme.Account
	failed  map[string]bool // types of challenges
}

// obtained is what an order brought.
type obtained struct {
	checked store.Checked
	ari     *acme.RenewalInfo
}

// run orders a certificate for a fresh key of a kind, in place of another or nil, and checks it as if it came from anywhere.
func (o *order) run(ctx context.Context, keyType, profile string, replaces *x509.Certificate) (*obtained, error) {
	key, err := newKey(keyType)
	if err != nil {
		return nil, err
	}
	request, err := newRequest(o.name, key)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	placed, err := o.prove(ctx, profile, replaces)
	if err != nil {
		return nil, err
	}
	finished, err := o.client.FinalizeOrder(ctx, o.account, placed, request)
	if err != nil {
		return nil, fmt.Errorf("finalize the order: %w", err)
	}
	o.try.step("finalized", keyType)
	chains, err := o.download(ctx, finished.Certificate)
	if err != nil {
		return nil, fmt.Errorf("download the certificate: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	pair := store.Pair{Chain: decodeChain(chains[0].ChainPEM), Key: encoded}
	checked, err := store.Check(pair, o.name, time.Now())
	if err != nil {
		return nil, fmt.Errorf("what the authority returned is of no use: %w", err)
	}
	o.try.step("certificate", fmt.Sprintf("%s until %s", keyType, checked.Leaf.NotAfter.UTC().Format(time.RFC3339)))
	return &obtained{checked, chains[0].RenewalInfo}, nil
}

// download gets the chain. acmez asks for the renewal information with it, which it tries again for as long as there is none:
// that is given up at once, and asked for another time. A client may be waiting.
func (o *order) download(ctx context.Context, url string) ([]acme.Certificate, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o.heard.giveUpGets(cancel)
	defer o.heard.giveUpGets(nil)
	return o.client.GetCertificateChain(ctx, o.account, url)
}

// decodeChain is the certificates in a text; Check says what is wrong with them.
func decodeChain(text []byte) (chain [][]byte) {
	for block, rest := pem.Decode(text); block != nil && len(chain) <= store.MaxChain; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			chain = append(chain, block.Bytes)
		}
	}
	return chain
}

// prove places an order and proves that the name is ours, with another type of challenge if one fails: the authority ends an
// order with its first failed challenge.
func (o *order) prove(ctx context.Context, profile string, replaces *x509.Certificate) (acme.Order, error) {
	for {
		placed, err := o.place(ctx, profile, replaces)
		if err != nil {
			return acme.Order{}, fmt.Errorf("new order: %w", err)
		}
		o.try.step("order", placed.Location)
		kind, err := o.authorize(ctx, placed)
		if err == nil {
			return placed, nil
		}
		o.withdraw(ctx, placed)
		if _, refused := problemOf(err); !refused || kind == "" || !o.another(kind) || ctx.Err() != nil {
			return acme.Order{}, err
		}
		o.try.step("challenge-failed", err.Error())
	}
}

// withdrawTime bounds what is done about an order that failed.
const withdrawTime = 5 * time.Second

// withdraw has the authority forget what is still to be proved for an order that is given up (RFC 8555 section 7.5.2): it
// lets an account have so many pending authorizations only.
func (o *order) withdraw(ctx context.Context, failed acme.Order) {
	if o.heard.trouble() || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, withdrawTime)
	defer cancel()
	for _, url := range failed.Authorizations {
		there, err := o.client.GetAuthorization(ctx, o.account, url)
		if err == nil && there.Status == acme.StatusPending {
			_, err = o.client.DeactivateAuthorization(ctx, o.account, url)
		}
		if err != nil {
			o.try.step("withdraw", err.Error())
			return
		}
	}
}

// another notes that a type of challenge failed, and says whether there are others.
func (o *order) another(failed string) bool {
	o.failed[failed] = true
	return slices.ContainsFunc(challengeTypes, func(kind string) bool {
		return o.try.store.solvers[kind] != nil && !o.failed[kind]
	})
}

func (o *order) place(ctx context.Context, profile string, replaces *x509.Certificate) (acme.Order, error) {
	wanted := acme.Order{Identifiers: []acme.Identifier{{Type: "dns", Value: o.name}}, Profile: profile}
	directory, err := o.client.GetDirectory(ctx)
	if err != nil {
		return acme.Order{}, err
	}
	if replaces != nil && len(replaces.AuthorityKeyId) > 0 && directory.RenewalInfo != "" {
		if id, err := acme.ARIUniqueIdentifier(replaces); err == nil {
			wanted.Replaces = id
		}
	}
	placed, err := o.client.NewOrder(ctx, o.account, wanted)
	// Others may have replaced it already, or another authority issued it: it is a hint, no more.
	problem, refused := problemOf(err)
	if wanted.Replaces != "" && refused && problem.Type != acme.ProblemTypeRateLimited && problem.Type != acme.ProblemTypeAccountDoesNotExist {
		o.try.step("replaces", err.Error())
		wanted.Replaces = ""
		placed, err = o.client.NewOrder(ctx, o.account, wanted)
	}
	return placed, err
}

// authorize proves what the order asks for. kind is the type of challenge that failed.
func (o *order) authorize(ctx context.Context, placed acme.Order) (kind string, err error) {
	for _, url := range placed.Authorizations {
		authorization, err := o.client.GetAuthorization(ctx, o.account, url)
		if err != nil {
			return "", fmt.Errorf("authorization: %w", err)
		}
		if authorization.Status == acme.StatusValid {
			o.try.step("authorized", "by an earlier order")
			continue
		}
		picked, err := o.pick(authorization)
		if err != nil {
			return "", err
		}
		if err := o.solve(ctx, authorization, picked); err != nil {
			return picked.Type, fmt.Errorf("%s: %w", picked.Type, err)
		}
		o.try.step("authorized", picked.Type)
		o.try.change(func(state *job) { state.Challenge = picked.Type })
	}
	return "", nil
}

// pick chooses the challenge to solve: of the type that worked last, if that is there.
func (o *order) pick(authorization acme.Authorization) (acme.Challenge, error) {
	types := challengeTypes
	if last := o.try.job.Challenge; last != "" {
		types = slices.Concat([]string{last}, types)
	}
	var offered []string
	for _, kind := range types {
		for _, each := range authorization.Challenges {
			if each.Type == kind && o.try.store.solvers[kind] != nil && !o.failed[kind] {
				return each, nil
			}
		}
	}
	for _, each := range authorization.Challenges {
		offered = append(offered, each.Type)
	}
	return acme.Challenge{}, fmt.Errorf("none of the authority's challenges %q can be solved", offered)
}

// solve has the answer to a challenge in place before the authority is told, and takes it away when that has looked.
func (o *order) solve(ctx context.Context, authorization acme.Authorization, picked acme.Challenge) (err error) {
	solver := o.try.store.solvers[picked.Type]
	o.try.step("challenge", picked.Type)
	defer func() {
		// A failed clean-up does not undo what was proved; Sweep takes up what is left.
		if left := solver.CleanUp(ctx, picked); left != nil {
			o.try.step("clean-up", left.Error())
		}
	}()
	if err := solver.Present(ctx, picked); err != nil {
		return err
	}
	if waiter, ok := solver.(acmez.Waiter); ok {
		if err := waiter.Wait(ctx, picked); err != nil {
			return err
		}
	}
	if err := o.try.announceChallenge(ctx, picked); err != nil {
		return err
	}
	if _, err := o.client.InitiateChallenge(ctx, o.account, picked); err != nil {
		return fmt.Errorf("tell the authority: %w", err)
	}
	_, err = o.client.PollAuthorization(ctx, o.account, authorization)
	return err
}
