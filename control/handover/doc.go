// Package handover replaces the running program by a new one without refusing a connection: the old process starts the new
// binary and hands it its listening sockets, and what it holds in memory that the new one is to go on with.
//
// The rule it guards: at every moment one process has everything that one process alone may have, and there is a way back
// until the new one says that it is ready. Whatever goes wrong before that (a bad configuration, a crash, silence) ends the new
// process, and the old one goes on as if nothing had happened. The sockets are the same sockets in both processes, not new
// ones at the same address: what waits in an accept queue is served by whoever accepts next.
//
// The two talk over a pair of sockets that nobody else can connect to; its end in the new process is a descriptor whose number
// is in the environment variable [Variable].
//
//	old process                               new process
//	starts the new program                    reads and checks its configuration
//	                                <- ask    it is sound: hand over
//	lets go of what one process alone may
//	have (the disk tier), collects its state
//	list, descriptors, bytes ->
//	                                          opens everything, and accepts nothing yet
//	                              <- ready
//	go ->                                     begins to accept
//	stops accepting, drains, ends
//
// Instead of ask or ready, the new process may say that it failed, and why. Each step is bounded by a deadline.
package handover
