package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"hellogate/control"
	"hellogate/control/handover"
	"hellogate/store"
	"hellogate/terminate/pool"
)

var (
	errNoProgram  = errors.New("upgrade: it is not known which program this is")
	errNotServing = errors.New("upgrade: it does not serve yet")
)

// The sections of what is handed over.
const (
	ticketsSection = "tickets" // []handedKeys
	pinsSection    = "pins"    // map[string][]store.Pair, by name
	serversSection = "servers" // map[string][]pool.Operated, by backend
)

// The lock files of the control socket and the one for reading.
const (
	controlLock = "control.lock"
	readsLock   = "read.lock"
)

func (i *Instance) makeUpgrader() {
	environment := append(os.Environ(), i.options.Notifier.Environment()...)
	i.upgrader = handover.NewUpgrader(handover.Options{
		Program: i.options.Program, Environment: environment, Sibling: i.options.Notifier != nil,
		Release: i.release, Resume: i.resume,
	})
}

// Upgrade starts the program again, has the new process take over, and begins the end of Run. It returns the new process' id
// when that accepts connections. With an error all is as it was. The end of ctx does not end it, as whoever asked may leave.
func (i *Instance) Upgrade(context.Context) (pid int, err error) {
	if !i.upgrading.TryLock() {
		return 0, handover.ErrBusy
	}
	defer i.upgrading.Unlock()
	i.options.Log.Info().Str("program", i.options.Program.Path).Msg("upgrade: starting the new process")
	if pid, err = i.startNext(); err != nil {
		i.options.Log.Error().Err(err).Msg("upgrade failed: everything stays as it was")
		return 0, err
	}
	i.stopWatch()
	i.warn(i.options.Notifier.HandOver(pid))
	i.leaveSockets()
	i.options.Log.Info().Int("new_pid", pid).Msg("upgrade: a new process has taken over")
	i.handedOver.Store(true)
	i.end()
	return pid, nil
}

// leaveSockets has what asks from now on be answered by the other process, and what was asked already by this one.
func (i *Instance) leaveSockets() {
	i.socket.Leave()
	_ = i.socket.UnixListener.Close()
	if i.reads != nil {
		i.reads.Leave()
		_ = i.reads.UnixListener.Close()
	}
	if i.admin != nil {
		_ = i.admin.Close()
	}
	if i.peter != nil {
		_ = i.peter.Close()
	}
}

func (i *Instance) startNext() (pid int, err error) {
	switch {
	case i.options.Program.Path == "":
		return 0, errNoProgram
	case !i.serving.Load():
		return 0, errNotServing
	}
	return i.upgrader.Upgrade(i.life)
}

// change begins a change of what an upgrade hands over, and end ends it. While that is under way it is an error: the
// change would be lost, or half of it would.
func (i *Instance) change() (end func(), err error) {
	if !i.changes.TryRLock() {
		return nil, handover.ErrBusy
	}
	return i.changes.RUnlock, nil
}

// release lets go of the disk tier, and has everything that is handed over stay as it is.
func (i *Instance) release(context.Context) (handover.State, error) {
	i.changes.Lock()
	i.letDisk()
	state := handover.State{Listeners: i.handedListeners(), Files: map[string]*os.File{controlLock: i.socket.LockFile()}}
	if i.reads != nil {
		state.Files[readsLock] = i.reads.LockFile()
	}
	var err error
	state.Sections, err = i.handedSections()
	return state, err
}

// resume takes back what release let go of.
func (i *Instance) resume() {
	i.takeDisk()
	i.changes.Unlock()
}

func (i *Instance) handedListeners() (all []handover.Listener) {
	for address, socket := range i.plane.Load().sockets {
		all = append(all, handover.Listener{Address: address, Listener: socket})
	}
	for address, socket := range i.plane.Load().proofs {
		all = append(all, handover.Listener{Address: address, Listener: socket})
	}
	settings := i.config.Control
	all = append(all, handover.Listener{Address: settings.Socket, Listener: i.socket.UnixListener})
	if i.reads != nil {
		all = append(all, handover.Listener{Address: settings.ReadSocket.Path, Listener: i.reads.UnixListener})
	}
	if i.peter != nil {
		all = append(all, handover.Listener{Address: settings.PeterSSLers.Address, Listener: i.peter.Listener()})
	}
	if i.admin != nil {
		all = append(all, handover.Listener{Address: i.config.Admin.Address, Listener: i.admin})
	}
	return all
}

// handedSections are the bytes that are handed over.
func (i *Instance) handedSections() (map[string][]byte, error) {
	p, sections := i.plane.Load(), map[string][]byte{}
	var keys []handedKeys
	for source, made := range p.keys {
		keys = append(keys, handedKeys{source.file, source.rotate, made.Export()})
	}
	servers := map[string][]pool.Operated{}
	for name, made := range p.pools {
		servers[name] = made.Operated()
	}
	pins, err := i.handedPins()
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]any{ticketsSection: keys, serversSection: servers, pinsSection: pins} {
		if sections[name], err = json.Marshal(value); err != nil {
			return nil, err
		}
	}
	for _, key := range keys {
		clear(key.Export)
	}
	return sections, nil
}

// handedPins is what is pinned: where a disk tier has it already, as far as that is not too much.
func (i *Instance) handedPins() (map[string][]store.Pair, error) {
	const enough = handover.MaxState / 4
	pins, err := i.cache.Pinned()
	size := 0
	for name, pairs := range pins {
		size += len(name)
		for _, pair := range pairs {
			size += len(pair.Key)
			for _, certificate := range pair.Chain {
				size += len(certificate)
			}
		}
	}
	switch {
	case err != nil || size <= enough:
		return pins, err
	case i.disk != nil:
		return nil, nil
	}
	return nil, fmt.Errorf("what is pinned takes %d bytes, and no more than %d are handed over: a disk tier would keep it", size, enough)
}

// handedKeys are session ticket keys that are handed over, with where they come from.
type handedKeys struct {
	File   string        `json:"file"`
	Rotate time.Duration `json:"rotate"`
	Export []byte        `json:"export"`
}

// takenKeys are the keys that the process before had from a source, or from the same with another time to rotate them.
func (i *Instance) takenKeys(source keySource) (export []byte) {
	var handed []handedKeys
	i.section(ticketsSection, &handed)
	for _, keys := range handed {
		exact := keys.Rotate == source.rotate
		if keys.File == source.file && (exact || export == nil) {
			export = keys.Export
		}
		if keys.File == source.file && exact {
			break
		}
	}
	return export
}

// takeServers has the pools be as the operator of the process before had them.
func (i *Instance) takeServers(p *plane) {
	var handed map[string][]pool.Operated
	i.section(serversSection, &handed)
	for name, servers := range handed {
		if made := p.pools[name]; made != nil {
			made.Operate(servers)
		}
	}
}

// takePins pins what the process before had pinned.
func (i *Instance) takePins() {
	var handed map[string][]store.Pair
	i.section(pinsSection, &handed)
	for name, pairs := range handed {
		if err := i.cache.PinAgain(name, pairs); err != nil {
			i.options.Log.Error().Str("name", name).AnErr("reason", err).Msg("what was pinned is not pinned any more")
		}
	}
}

// section reads a section of what was handed over into value, and leaves it alone where there is none.
func (i *Instance) section(name string, value any) {
	text := i.options.Inherited.State(name)
	if len(text) == 0 {
		return
	}
	if err := json.Unmarshal(text, value); err != nil { // whose text may hold a part of a key
		i.options.Log.Error().Str("section", name).Msg("what the process before handed over can't be read")
	}
}

// takeOver has the process before step back, and takes over the files of the control sockets.
func (i *Instance) takeOver() error {
	unused, err := i.options.Inherited.Ready()
	if err != nil {
		return err
	}
	for _, what := range append(unused, i.options.Sockets.CloseUnused()...) {
		i.options.Log.Warn().Str("socket", what).Msg("not used: no listener has this address")
	}
	for _, socket := range []*control.Socket{i.socket, i.reads} {
		if socket != nil {
			i.warn(socket.Own())
		}
	}
	return nil
}
