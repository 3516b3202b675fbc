// What the Node.js server does with its database: `node mongoose.mjs URL NAME TIME` saves an event and prints its id.
import { argv, stdout } from 'node:process';
import mongoose from 'mongoose';

const [url, name, time] = argv.slice(2);
const Event = mongoose.model('Event', new mongoose.Schema({ name: String, time: Date }));

await mongoose.connect(url);
const event = await Event.create({ name, time });
await mongoose.disconnect();
stdout.write(event.id);
